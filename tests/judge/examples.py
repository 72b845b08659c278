"""Small records and stores for the tests of the gate."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml.config import Config
from ml.config.slices import BUILT_IN_SLICES
from ml.judge.policy import judge
from ml.records import (
    COMPARED_FIGURES,
    ChampionUnmeasured,
    Comparison,
    Contamination,
    Decision,
    Evaluation,
    Evidence,
    HistoryEntry,
    Inputs,
    Interval,
    ModelDescription,
    ModelVersion,
    NoChampion,
    NoEvidence,
    NoGains,
    NothingWithdrawn,
    PairedCosts,
    Past,
    PastPromotion,
    PretrainedWeights,
    Probe,
    Rival,
    ServingCosts,
    Slice,
    TrainedModel,
    digest,
    to_json,
)
from ml.registry import CHAMPION_ALIAS
from ml.registry.local import LocalRegistry
from ml.run import Run
from ml.store import Store
from ml.store.files import tree_digest

EVALUATION = Evaluation(
    model="a" * 64,
    weights="f" * 64,
    test="7" * 64,
    rows=1000,
    positives=60,
    threshold=0.4,
    precision=0.7,
    recall=0.6,
    f1=0.6461538,
    best_f1=0.65,
    best_threshold=0.38,
    average_precision=0.68,
    precision_at_recall_50=0.75,
    roc_auc=0.95,
    log_loss=0.11,
    calibration_error=0.02,
    calibration_slope=0.9,
    true_positives=36,
    false_positives=15,
    false_negatives=24,
    true_negatives=925,
)
CHAMPION = replace(EVALUATION, model="c" * 64, weights="d" * 64, precision=0.65, recall=0.55)
INPUTS = Inputs(
    snapshot="1" * 64,
    config="2" * 64,
    suites="3" * 64,
    encoder="5" * 64,
    libraries="6" * 64,
    code="4" * 64,
    champion=NoChampion(),
)
BASELINE = replace(
    EVALUATION, model="b" * 64, weights="b" * 64, precision=0.5, recall=0.5, f1=0.5, average_precision=0.54
)
RIVAL = Rival(
    champion=ModelVersion(version="v1", model="c" * 64), evaluation=CHAMPION, contamination=Contamination(rows=0)
)
GAIN = Interval(difference=0.05, lower=0.02, upper=0.08)
COSTS = ServingCosts(
    question_seconds=0.012, batch_seconds=1.5, peak_memory_bytes=800 * 2**20, artifact_bytes=90 * 2**20
)
PAST = Past(
    time="2026-01-11T00:00:00+00:00",
    last_promotion=PastPromotion(version="v1", time="2026-01-04T00:00:00+00:00"),
    after_rollback=False,
    withdrawn=NothingWithdrawn(),
    forced=False,
)
PROBE = Probe(
    model="a" * 64,
    comparison="e" * 64,
    questions=8,
    rows=256,
    largest_difference=1e-6,
    time="2026-01-11T00:00:00+00:00",
    costs=PairedCosts(candidate=COSTS, champion=COSTS, question_ratio=1.0, batch_ratio=1.0),
)
DESCRIPTION = ModelDescription(
    threshold=0.4,
    encoder="tiny",
    max_tokens=64,
    config="6" * 64,
    snapshot="1" * 64,
    splits="5" * 64,
    fitted_to=("8" * 64, "9" * 64),
    started_from=PretrainedWeights(),
    vocabulary="0" * 64,
)
EVIDENCE = Evidence(
    confidence=0.95,
    resamples=1000,
    figures=dict.fromkeys(COMPARED_FIGURES, GAIN),
    slices=dict.fromkeys(BUILT_IN_SLICES, Slice(rows=100, positives=30, f1=GAIN)),
    candidate_alone_right=30,
    champion_alone_right=10,
    mcnemar_p=0.0022,
    probe=PROBE,
    past=PAST,
)
FIRST_ENTRY = HistoryEntry(
    time="2026-01-04T00:00:00+00:00",
    run_id="run-1",
    promoted=True,
    verdict="promote",
    reason="There is no champion yet, and the candidate passes every guard.",
    version="v1",
    previous=NoChampion(),
    decision="d" * 64,
    precision=0.7,
    recall=0.6,
    f1=0.6461538,
    average_precision=0.68,
    triggered_by="command line",
    inputs=digest(INPUTS),
    weights="f" * 64,
    settled=True,
    watch=ChampionUnmeasured(),
    gains=NoGains(),
)


def open_run(home: Path, run_id: str = "run-1") -> Run:
    return Run(
        store=Store(home / "store"),
        registry=LocalRegistry(home / "registry"),
        reports=home / "reports",
        run_id=run_id,
    )


def store_model(store: Store, content: str) -> str:
    """Store two small files in place of a model, and return their digest."""
    with store.staging() as folder:
        (folder / "saved_model").mkdir()
        (folder / "saved_model" / "weights").write_text(content, encoding="utf-8")
        (folder / "model.json").write_text(to_json(DESCRIPTION), encoding="utf-8")
        model = tree_digest(folder)
        store.commit(folder, "models", model)
    return model


def weights_of(model: str) -> str:
    """What stands for the digest of a model's SavedModel."""
    return hashlib.sha256(model.encode()).hexdigest()


def compare(model: str, rival: Rival | NoChampion, **figures: Any) -> Comparison:
    return Comparison(
        snapshot="1" * 64,
        trained=TrainedModel(
            model=model,
            weights=weights_of(model),
            splits="5" * 64,
            config="6" * 64,
            encoder="tiny",
            threshold=0.4,
            rebased=False,
            best_epoch=1,
            examples_per_second=100.0,
            train_seconds=10.0,
            peak_memory_bytes=1000,
            started_from=PretrainedWeights(),
        ),
        candidate=replace(EVALUATION, **{"model": model, "weights": weights_of(model), **figures}),
        baseline=BASELINE,
        rival=rival,
        warnings=(),
    )


def compare_next(run: Run, content: str, **figures: float) -> Comparison:
    """Store a new model, and compare it with the current champion."""
    champion = run.registry.resolve(CHAMPION_ALIAS)
    if isinstance(champion, NoChampion):
        return compare(store_model(run.store, content), champion, **figures)
    evaluation = replace(CHAMPION, model=champion.model, weights=weights_of(champion.model))
    return compare(store_model(run.store, content), replace(RIVAL, champion=champion, evaluation=evaluation), **figures)


def judged(comparison: Comparison) -> Decision:
    """Make the decision on a comparison without stored scores; if there is a champion, EVIDENCE and PAST are used."""
    first = isinstance(comparison.rival, NoChampion)
    known = replace(EVIDENCE, probe=probed(comparison), past=PAST)
    evidence = NoEvidence() if first else known
    verdict, reason, checks = judge(comparison, evidence, Config().policy)
    return Decision(
        verdict=verdict,
        reason=reason,
        checks=checks,
        policy="8" * 64,
        candidate=comparison.candidate.model,
        champion=comparison.champion,
        comparison=digest(comparison),
        inputs=replace(INPUTS, champion=comparison.champion),
        splits=comparison.trained.splits,
        test=comparison.candidate.test,
        triggered_by="command line",
        alarms=(),
        remarks=(),
        probe=digest(probed(comparison)),
        past=PAST,
    )


def probed(comparison: Comparison) -> Probe:
    """Make the probe of a candidate that serves well and costs as much as the champion."""
    return replace(PROBE, model=comparison.candidate.model, comparison=digest(comparison))
