"""After a promotion or a rollback, the form's proposals are the former champions whose files are kept."""

import json
from pathlib import Path

from ml.champion.promote import promote
from ml.config import Config
from ml.report.rollback_choices import write_rollback_choices
from ml.run import Run
from tests.judge.examples import compare_next, judged, open_run, probed


def _promoted(home: Path, number: int) -> Run:
    run = open_run(home, f"run-{number}")
    comparison = compare_next(run, f"model {number}")
    promote(Config(), run, comparison, judged(comparison), probed(comparison))
    return run


def _choices(run: Run) -> dict[str, str]:
    return json.loads((run.reports / "rollback_choices.json").read_text())


def test_they_are_the_former_champions_that_are_kept_the_last_one_first(tmp_path: Path) -> None:
    runs = [_promoted(tmp_path, number) for number in range(4)]
    write_rollback_choices(runs[-1], predecessors=2)
    words = _choices(runs[-1])
    assert list(words) == ["v3", "v2"]
    day = runs[-1].registry.history()[2].time[:10]
    assert words["v3"] == f"v3 ({day}, precision 0.7000, recall 0.6000)"


def test_there_are_none_beside_a_first_champion(tmp_path: Path) -> None:
    run = _promoted(tmp_path, 0)
    write_rollback_choices(run, predecessors=5)
    assert _choices(run) == {}
