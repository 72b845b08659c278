"""The words of records in a task's log."""

from dataclasses import replace

import pytest

from ml.records import (
    Bfloat16Form,
    ChampionSnapshot,
    Change,
    Contamination,
    DataCheck,
    ModelVersion,
    NoChampion,
    NothingWithdrawn,
    NotJudged,
    PairedCosts,
    Probe,
    Promotion,
    RawSnapshot,
    Rollback,
    ServingCosts,
    SnapshotElsewhere,
    Split,
    Splits,
    ToldSettings,
    UnmeasuredCosts,
    Unregistered,
    ValidationReport,
    digest,
)
from ml.report.words.record_words import words_of
from ml.steps import STEPS
from tests.judge.examples import INPUTS, RIVAL, compare, judged

V1, V2 = ModelVersion(version="v1", model="a" * 64), ModelVersion(version="v2", model="b" * 64)
COMPARED = compare("a" * 64, RIVAL, precision=0.64)
COSTS = ServingCosts(question_seconds=0.012, batch_seconds=1.5, peak_memory_bytes=800 * 2**20, artifact_bytes=90)
PROBE = Probe(
    model="a" * 64, comparison="b" * 64, questions=8, rows=160, largest_difference=2e-7, time="now", costs=COSTS
)
SERVED = "probe: served 8 hard questions and 160 test rows, scores differ by at most 2e-07"
CHECK = DataCheck(name="label balance", column="target", severity="critical", passed=True, observed="0.06")
REPORT = ValidationReport(
    snapshot="a" * 64,
    since=NoChampion(),
    suite="raw",
    suite_digest="c" * 64,
    passed=True,
    worst_severity="warning",
    checks=(CHECK, replace(CHECK, name="growth", severity="warning", passed=False)),
)
SPLITS = Splits(
    snapshot="a" * 64,
    report="b" * 64,
    strategy="hash",
    seed=1,
    labels=("0", "1"),
    parts=tuple(Split(name=name, digest="d" * 64, rows=1200, positives=70) for name in ("train", "validation", "test")),
    duplicate_texts=0,
    conflicting_texts=0,
    warnings=(),
)
CHANGE = Change(
    changed=True,
    reason="There is no champion yet.",
    inputs=INPUTS,
    champion=NoChampion(),
    judged=NotJudged(),
    withdrawn=NothingWithdrawn(),
)


def promotion(**fields):
    usual = {"promoted": True, "verdict": "promote", "candidate": V2, "previous": V1}
    return Promotion(alias="production", decision="d", **{**usual, **fields})


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (
            ToldSettings(preset="local", different={"train.epochs": "2"}, triggered_by="me", dry_run=True, force=False),
            "settings of local: dry run, train.epochs = 2",
        ),
        (
            ToldSettings(preset="local", different={}, triggered_by="me", dry_run=False, force=False),
            "settings of local: as they are",
        ),
        (
            RawSnapshot(
                source="file:a.csv", sha256="a" * 64, rows=1500, columns=("qid",), bytes=147_040, quarantined_rows=3
            ),
            "snapshot aaaaaaaaaaaa: 1,500 rows, 3 more in quarantine, 147,040 bytes from file:a.csv",
        ),
        (CHANGE, "there is work: There is no champion yet."),
        (replace(CHANGE, changed=False, reason="Nothing has changed."), "nothing to do: Nothing has changed."),
        (
            REPORT,
            "data of snapshot aaaaaaaaaaaa: 1 of 2 expectations hold; not growth (warning);"
            " no champion to compare with",
        ),
        (
            replace(REPORT, since=ChampionSnapshot(version="v1", snapshot="b" * 64), checks=(CHECK,)),
            "data of snapshot aaaaaaaaaaaa: 1 of 1 expectations hold; compared with the file of champion v1",
        ),
        (
            replace(REPORT, since=SnapshotElsewhere(version="v1", snapshot="b" * 64), checks=()),
            "data of snapshot aaaaaaaaaaaa: 0 of 0 expectations hold;"
            " the file of champion v1 is not here to compare with",
        ),
        (
            SPLITS,
            f"splits {digest(SPLITS)[:12]} by hash: train 1,200 rows (70 insincere),"
            " validation 1,200 rows (70 insincere), test 1,200 rows (70 insincere)",
        ),
        (
            COMPARED,
            f"comparison {digest(COMPARED)[:12]} on 1,000 test rows: champion v1 precision 0.6500, recall 0.5500,"
            " average precision 0.6800; candidate precision 0.6400, recall 0.6000, average precision 0.6800;"
            " baseline precision 0.5000, recall 0.5000, average precision 0.5400",
        ),
        (
            PROBE,
            f"{SERVED}; 12.0 ms a question, 800 MiB",
        ),
        (
            replace(PROBE, costs=PairedCosts(candidate=COSTS, champion=COSTS, question_ratio=1.5, batch_ratio=1.0)),
            f"{SERVED}; 12.0 ms a question, 800 MiB, 1.50 x the champion's time",
        ),
        (
            replace(
                PROBE, costs=UnmeasuredCosts(reason="it did not answer", candidate=COSTS, champion_artifact_bytes=1)
            ),
            f"{SERVED}; costs not measured: it did not answer",
        ),
        (
            judged(COMPARED),
            f"decision {digest(judged(COMPARED))[:12]}: keep. Champion v1 stays: the candidate shows no precision gain."
            " (19 of 20 checks pass; not precision gain)",
        ),
        (promotion(), "promoted: production is v2 now (before: v1)"),
        (
            promotion(promoted=False, verdict="keep"),
            "not promoted: the verdict is keep, production stays v1 (candidate: v2)",
        ),
        (
            promotion(promoted=False, candidate=Unregistered()),
            "dry run: the verdict is promote, nothing was written to the registry",
        ),
        (
            Rollback(target=V1, previous=V2, reason="too slow", triggered_by="me"),
            "rolled back: v1 is champion again (before: v2). too slow",
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_record_in_words(record, words):
    assert words_of(record) == words


def test_a_model_says_how_it_was_trained():
    assert words_of(COMPARED.trained).endswith("epoch 1 kept, threshold 0.4000")
    form = Bfloat16Form(rows=2000, labels_agreeing=0.9995, average_precision_change=-0.0004)
    assert words_of(replace(COMPARED.trained, form=form)).endswith(
        "; exported in bfloat16: 99.9500% of 2,000 labels as in float32, average precision -0.0004"
    )


def test_each_record_that_a_step_takes_has_words_of_its_own():
    taken = {kind for step in STEPS.values() for kind in step.takes}
    assert {kind.__name__ for kind in taken if kind not in words_of.registry} == set()


def test_a_record_without_words_of_its_own_is_named():
    assert words_of(Contamination(rows=1)) == f"Contamination {digest(Contamination(rows=1))[:12]}"
