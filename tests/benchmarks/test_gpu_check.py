"""The check of GPUs runs on the CPU too, at a tiny size; what a GPU showed is in docs/gpu.md."""

import json
from types import SimpleNamespace

import pytest

from benchmarks.gpu_check.__main__ import main, table
from benchmarks.gpu_check.encoders import SIZES, training_flops
from benchmarks.gpu_check.watched import Outcome, run_case
from tests.tiny import Sizes


@pytest.fixture
def quick_cases(python, monkeypatch):
    """Run the cases in processes that wait for no import."""
    monkeypatch.setattr("benchmarks.gpu_check.watched.sys", SimpleNamespace(executable=python))


@pytest.mark.usefixtures("quick_cases")
def test_without_a_gpu_it_runs_on_the_cpu_and_says_that_gpus_are_unproven(tmp_path, capsys):
    output = tmp_path / "gpu_check.json"
    assert main(["--only", "tiny", "--output", str(output)]) == 0

    result = json.loads(output.read_text())
    assert (result["gpu"], result["wrong"], result["skipped"]) == (False, [], [])
    (row,) = result["tables"]["tiny training"]
    assert row["last loss"] < row["first loss"]
    assert row["farthest from the CPU's"] == 0
    printed = capsys.readouterr().out
    assert "| float32 | no |" in printed
    assert "what it says of GPUs is unproven" in printed


def test_a_case_that_runs_too_long_is_stopped_and_costs_no_other(tmp_path):
    outcome = run_case(["machine", str(tmp_path)], seconds=1, log=tmp_path / "log", environment={})
    assert (outcome.end, outcome.rows) == ("was stopped after 1 s", [])


def test_what_there_is_no_time_for_is_named_and_is_not_wrong(tmp_path, capsys):
    assert main(["--minutes", "0", "--only", "replicas", "--output", str(tmp_path / "out.json")]) == 0
    assert 'replicas tiny ["float32"]' in capsys.readouterr().out.partition("unproven:")[2]


@pytest.mark.parametrize(("before", "after", "back"), [(0.0, 0.0, True), (100.0, 150.0, True), (0.0, 900.0, False)])
def test_memory_is_back_when_as_much_is_free_as_before(before, after, back):
    assert Outcome(before=before, after=after).memory_is_back is back


def test_the_operations_of_a_step_are_those_of_its_products():
    # One layer of one token: query, key, value and output 4 * 2 * 2, the dense layers 2 * 2 * 3, attention 2 * 2, the
    # pooler 2 * 2; each is a multiplication and an addition, three times in a training step.
    assert training_flops(Sizes(layers=1, hidden=2, intermediate=3), 1) == 3 * 2 * (16 + 12 + 4 + 4)
    # About 6 operations for each of the 85 M weights of the layers and each token.
    assert training_flops(SIZES["base"], 64) / (6 * 85e6 * 64) == pytest.approx(0.95, abs=0.03)


def test_a_table_has_the_columns_of_all_rows():
    rows = [{"a": 1.23456, "right": True}, {"a": "x", "b": 2, "right": False}]
    assert table(rows) == "| a | right | b |\n| --- | --- | --- |\n| 1.235 | yes |  |\n| x | NO | 2 |"
