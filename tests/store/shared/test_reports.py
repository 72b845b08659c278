"""The reports of a run, of which one step writes here and the next one there."""

import time

import pytest

from ml.errors import StoreUnavailable
from ml.store import Measured
from ml.store.mirror import Mirror, open_mirror
from ml.store.shared import bucket
from ml.store.shared.fetch_reports import main
from tests.places import ADDRESSES

DAY = 86_400


class Home:
    """A home, of which only the reports matter."""

    def __init__(self, place):
        self.place = place
        self.mirror = open_mirror({"SINCERE_STORE": ADDRESSES["s3"]}, place)

    def write(self, name, text):
        path = self.place / "reports" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def files(self):
        root = self.place / "reports"
        return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def here(server, tmp_path):
    return Home(tmp_path / "here")


@pytest.fixture
def there(server, tmp_path):
    return Home(tmp_path / "there")


def test_without_the_variable_nothing_is_elsewhere(tmp_path):
    assert type(open_mirror({}, tmp_path)) is Mirror


def test_the_next_step_has_what_the_last_one_wrote_wherever_it_is(here, there):
    here.write("run/verdict.txt", "decided")
    here.write("run/page/Decision.json", "{}")
    here.write("run/half.part", "ha")
    here.mirror.send()
    there.mirror.fetch("run")
    assert there.files() == {"run/verdict.txt": "decided", "run/page/Decision.json": "{}"}

    there.write("run/verdict.txt", "promoted")
    there.write("run/page/Promotion.json", "{}")
    (there.place / "reports" / "run" / "page" / "Decision.json").unlink()
    there.mirror.send()
    here.mirror.fetch("run")
    assert here.files() == {"run/verdict.txt": "promoted", "run/page/Promotion.json": "{}", "run/half.part": "ha"}


def test_what_has_not_changed_is_neither_sent_nor_fetched_again(server, here, there):
    here.write("run/verdict.txt", "decided")
    here.mirror.send()
    there.mirror.fetch("run")
    server.asked.clear()
    here.mirror.send()
    assert server.asked == []
    there.mirror.fetch("run")
    assert not [key for _, key in server.asked if "/parts/" in key]


def test_what_was_not_sent_for_an_outage_is_newer_and_sent_by_the_next_command(server, here, there, monkeypatch):
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    here.write("run/verdict.txt", "decided")
    here.mirror.send()
    here.write("run/verdict.txt", "promoted!")
    server.fault = lambda method, key: 503
    with pytest.raises(StoreUnavailable):
        here.mirror.send()
    server.fault = lambda method, key: 0
    here.mirror.fetch("run")
    assert here.files() == {"run/verdict.txt": "promoted!"}
    here.mirror.send()
    there.mirror.fetch("run")
    assert there.files() == here.files()


def test_pages_and_history_have_the_records_of_all_runs_without_their_pages(here, there):
    for run in ("one", "two"):
        here.write(f"{run}/page/RunOutcome.json", run)
        here.write(f"{run}/history/entry.json", run)
        here.write(f"{run}/evaluation.html", run)
    here.mirror.send()
    there.mirror.fetch_all(records_alone=True)
    assert sorted(there.files()) == [
        f"{run}/{file}" for run in ("one", "two") for file in ("history/entry.json", "page/RunOutcome.json")
    ]
    there.write("one/history/another.json", "")
    there.mirror.send()
    there.mirror.fetch_all(records_alone=False)
    assert there.files()["two/evaluation.html"] == "two"
    assert there.files()["one/evaluation.html"] == "one"


def test_the_newest_verdict_is_that_of_the_run_that_wrote_last(server, here, there):
    here.write("one/verdict.txt", "one")
    here.mirror.send()
    server.age(DAY)
    here.write("two/verdict.txt", "two")
    here.write("two/evaluation.html", "two")
    here.mirror.send()
    server.age(DAY)
    here.write("three/exploration.html", "three")
    here.mirror.send()
    there.mirror.fetch_newest("verdict.txt")
    assert there.files() == {"two/verdict.txt": "two"}
    there.mirror.fetch_all(records_alone=False)
    assert len(there.files()) == 4


def test_fetched_reports_are_as_old_as_they_are(server, here, there):
    here.write("run/page/RunOutcome.json", "{}")
    here.mirror.send()
    server.age(40 * DAY)
    there.mirror.fetch("run")
    ages = [time.time() - path.stat().st_mtime for path in (there.place / "reports").glob("run/**/*")]
    assert all(39 * DAY < age < 41 * DAY for age in ages)
    measured = there.mirror.measured("run", Measured(0, time.time()))
    assert (measured.bytes, round((time.time() - measured.used) / DAY)) == (2, 40)


def test_a_file_that_is_replaced_or_removed_while_it_is_sent_is_left_to_who_writes_it(server, here, there):
    for change in (lambda path: path.write_text("later"), lambda path: path.unlink()):
        here.write("run/exploration.html", "now")
        here.write("run-2/verdict.txt", "decided")
        page = here.place / "reports" / "run" / "exploration.html"
        server.before = lambda method, key, page=page, change=change: (
            change(page) if page.exists() and page.read_text() == "now" and "reports/run" in key else None
        )
        here.mirror.send()
        server.before = lambda method, key: None
        assert "manifests/reports/run-2" in server.keys("")
    here.write("run/exploration.html", "at last")
    here.mirror.send()
    there.mirror.fetch("run")
    assert there.files() == {"run/exploration.html": "at last"}


def test_parts_that_another_host_has_just_sent_stay(server, here):
    here.write("run/verdict.txt", "decided")
    here.mirror.send()
    here.mirror._folders.bucket.write(f"parts/reports/run/{'a' * 64}", b"12")
    here.write("run/verdict.txt", "promoted")
    here.mirror.send()
    assert len(server.keys("parts/reports/run/")) == 2


def test_reports_that_are_dropped_are_gone_for_all(server, here, there):
    here.write("run/verdict.txt", "decided")
    here.write("run-1/verdict.txt", "decided")
    here.mirror.send()
    there.mirror.fetch_all(records_alone=False)
    here.mirror.drop("run")
    there.mirror.fetch("run")
    there.mirror.tidy()
    assert sorted(there.files()) == ["run-1/verdict.txt"]
    assert server.keys("manifests/") == ["manifests/reports/run-1"]


def test_a_page_has_a_run_fetched_by_a_command(here, there, monkeypatch, capsys, server):
    here.write("run/verdict.txt", "decided")
    here.write("run/page/Decision.json", "{}")
    here.mirror.send()
    monkeypatch.setenv("SINCERE_HOME", str(there.place))
    monkeypatch.setenv("SINCERE_STORE", ADDRESSES["s3"])
    assert main([]) == 0
    assert list(there.files()) == ["run/page/Decision.json"]
    assert main(["run"]) == 0
    assert "run/verdict.txt" in there.files()

    server.fault = lambda method, key: 403
    assert main(["run"]) == 1
    assert '["the bucket forbids access", "give these' in capsys.readouterr().out
