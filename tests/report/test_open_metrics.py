"""Figures for Prometheus: what registry and reports have, in the form of OpenMetrics."""

import time
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ml.cli import main
from ml.records import (
    DataCheck,
    DataQuality,
    Measured,
    ObservedCheck,
    RawSnapshot,
    RunOutcome,
    StepCosts,
    StepTimes,
    to_json,
)
from ml.report.open_metrics import metrics_text
from tests.airflow.pages.examples import decide_next
from tests.judge.examples import compare_next, judged, open_run
from tests.report.words.test_record_words import SPLITS


@pytest.fixture
def home(tmp_path):
    decide_next(tmp_path, "run-1", (0.64, 0.55), time="2026-10-04T03:10:00+00:00")
    decide_next(tmp_path, "run-2", (0.68, 0.6), time="2026-10-11T03:10:00+00:00")
    return tmp_path


def samples(home):
    """Value by metric and labels."""
    families = text_string_to_metric_families(metrics_text(open_run(home)))  # Prometheus' own, strict reader
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_champion_age_figures_and_verdicts_are_those_of_the_registry(home):
    told = samples(home)
    champion = open_run(home).registry.resolve("production")
    assert told["sincere_champion_info", champion.version, champion.model] == 1
    assert told["sincere_champion_since_seconds",] + told["sincere_champion_age_seconds",] == pytest.approx(
        time.time(), abs=30
    )
    assert told["sincere_verdicts_total", "promote"] == 2
    assert told["sincere_champion_figure", "precision"] == pytest.approx(0.68, abs=0.001)


def test_runs_steps_and_data_are_those_of_the_reports(home):
    run = open_run(home, "weekly")
    run.keep_for_page(RunOutcome(outcome="kept", step="promote", reason='no "gain"', lines=()))
    run.keep_for_page(StepTimes(step="split", began=1000.25, ended=1003.75), name="times/split")
    run.keep_for_page(StepCosts(step="split", written_bytes=77, peak_memory_bytes=5000), name="costs/split")
    snapshot = RawSnapshot(source="file:a", sha256="1" * 64, rows=7, columns=(), bytes=99, quarantined_rows=2)
    run.keep_for_page(replace(snapshot, erased_rows=1))
    run.keep_for_page(SPLITS)
    run.keep_for_page(replace(judged(compare_next(run, "weekly")), alarms=("the champion was lost",)))
    check = DataCheck(name="growth", column="growth", severity="warning", passed=False, observed="1.7")
    checks = tuple(
        ObservedCheck(docs="docs", check=each, required="0.9 to 1.5", note="why", value=Measured(value=1.7))
        for each in (check, check, replace(check, passed=True))
    )
    quality = DataQuality(run_id="weekly", time="2026-10-11T03:10:00+00:00", snapshot="1" * 64, rows=7, checks=checks)
    (run.report_folder / "data_quality").mkdir()
    (run.report_folder / "data_quality" / "validate.json").write_text(to_json(quality))

    told = samples(home)

    assert told["sincere_last_run_info", "weekly", "kept"] == 1
    assert told["sincere_step_seconds", "split"] == 3.5
    assert told["sincere_step_written_bytes", "split"] == 77
    assert told["sincere_step_peak_memory_bytes", "split"] == 5000
    assert [told["sincere_snapshot_rows", what] for what in ("kept", "quarantined", "erased")] == [7, 2, 1]
    assert told["sincere_snapshot_bytes",] == 99
    assert told["sincere_home_bytes", "reports"] > 0
    assert told["sincere_alarms",] == 1
    assert [told["sincere_part_rows", part.name] for part in SPLITS.parts] == [1200] * 3
    assert told["sincere_data_checks", "validate", "warning", "false"] == 2
    assert told["sincere_data_checks", "validate", "warning", "true"] == 1


def test_a_home_without_a_run_has_figures_too(tmp_path):
    assert samples(tmp_path) == {}


def test_the_command_prints_them_or_writes_them_whole(home, monkeypatch, capsys):
    monkeypatch.setenv("SINCERE_HOME", str(home))
    assert main(["metrics", "--output", str(home / "sincere.prom")]) == 0
    assert capsys.readouterr().out == ""
    assert (home / "sincere.prom").read_text().endswith("# EOF\n")
    assert main(["metrics"]) == 0
    assert capsys.readouterr().out.startswith("# TYPE sincere_champion info\n")
