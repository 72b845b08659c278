"""What is kept beside a run's reports when the registry has carried out its decision."""

from ml.records import HistoryEntry, from_json
from ml.registry.local import LocalRegistry
from tests.airflow.pages.examples import decide_next, roll_back


def kept(home, run_id):
    folder = home / "reports" / run_id / "history"
    return [from_json(path.read_text(encoding="utf-8"), HistoryEntry) for path in sorted(folder.glob("*.json"))]


def test_a_run_keeps_its_own_entries_of_the_history(tmp_path):
    decide_next(tmp_path, "run-1", (0.64, 0.55), time="2026-10-04T03:10:00+00:00")
    decide_next(tmp_path, "run-2", (0.68, 0.6), time="2026-10-11T03:10:00+00:00")
    roll_back(tmp_path, "run-3", "v1", "complaints", time="2026-10-12T03:10:00+00:00")

    history = LocalRegistry(tmp_path / "registry").history()
    assert [kept(tmp_path, f"run-{number}") for number in (1, 2, 3)] == [[entry] for entry in history]
