"""One preset after the other on the same CSV: no row that judges was trained on, whatever the fractions are.

And what the steps of a whole run hand on: digests of their parents, no questions, no places.
"""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ml.cli import main
from ml.records import Comparison, Contamination, Record, digest, from_json, read_any, to_json
from ml.source.sample import write_sample
from tests.forked_python import serving_by
from tests.tiny import write_tiny_config

LIKE_LOCAL = (0.8, 0.1, 0.1)
LIKE_BERT_BASE = (0.1, 0.01, 0.1)
ROWS = 6000
FEW = "--set=validate.parameters.min_part_positives=1"  # one percent of the rows has few positives


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, python: str) -> Path:
    """A home with a run by the fractions of `local`, then one by those of `bert-base`."""
    place = tmp_path_factory.mktemp("fractions")
    write_sample(place / "rows.csv", rows=ROWS, seed=1)
    command = ["run", "--config", str(write_tiny_config(place)), "--source", str(place / "rows.csv")]
    with serving_by(python), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINCERE_HOME", str(place / "home"))
        for run_id, fractions in (("local", LIKE_LOCAL), ("bert-base", LIKE_BERT_BASE)):
            parts = zip(("train", "validation", "test"), fractions, strict=True)
            settings = [f"--set=split.{name}={fraction}" for name, fraction in parts]
            assert main([*command, "--run-id", run_id, FEW, *settings]) == 0
    return place / "home"


def compared(home: Path) -> dict[str, Comparison]:
    kept = [from_json(path.read_text(), Comparison) for path in (home / "store" / "comparisons").rglob("*.json")]
    return {"first" if each.rival.record == "NoChampion" else "second": each for each in kept}


def test_a_run_by_other_fractions_comes_to_a_verdict_on_test_rows_that_nobody_has_seen(home: Path) -> None:
    comparisons = compared(home)
    assert comparisons["second"].rival.contamination == Contamination(rows=0)
    assert comparisons["first"].candidate.test == comparisons["second"].candidate.test
    verdict = (home / "reports" / "bert-base" / "verdict.txt").read_text()
    assert " ✓  unseen test rows " in verdict
    history = [json.loads(line) for line in (home / "registry" / "history.jsonl").read_text().splitlines()]
    assert [entry["run_id"] for entry in history] == ["local", "bert-base"]
    assert history[1]["verdict"] in ("promote", "inconclusive", "keep", "blocked")


@pytest.fixture(scope="module")
def records(home: Path) -> dict[str, Record]:
    """The record of each step of the second run, by its name."""
    texts = [path.read_text().split("\n")[1] for path in (home / "reports" / "bert-base" / "records").iterdir()]
    return {record.record: record for record in map(read_any, texts)}


def test_each_record_names_its_parents_by_their_digests(records: dict[str, Any]) -> None:
    snapshot, report, splits, trained = (
        records[name] for name in ("RawSnapshot", "ValidationReport", "Splits", "TrainedModel")
    )
    comparison, probe, decision = (records[name] for name in ("Comparison", "Probe", "Decision"))
    assert report.snapshot == splits.snapshot == comparison.snapshot == snapshot.sha256
    assert trained.splits == digest(splits) == decision.splits
    assert comparison.trained == trained
    assert probe.comparison == digest(comparison) == decision.comparison
    assert (decision.probe, decision.candidate) == (digest(probe), trained.model)
    assert records["Promotion"].decision == digest(decision)
    assert records["Change"].inputs == decision.inputs


def test_no_record_has_a_question_or_a_place(records: dict[str, Any], home: Path) -> None:
    told = "".join(map(to_json, records.values()))
    with (home.parent / "rows.csv").open(newline="", encoding="utf-8") as rows:
        texts = [row["question_text"] for row in csv.DictReader(rows)]
    assert [text for text in texts if len(text) > 20 and text in told] == []
    assert str(home.parent) not in told
