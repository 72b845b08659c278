"""What goes from an object store goes for all hosts: by age, and a person's questions; a backup is a copy there."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from ml.champion.retention import mark_underway
from ml.config import Config, GcConfig
from ml.errors import ConfigError, RegistryUnavailable, StoreRefused, StoreUnavailable
from ml.keeping.backup import back_up, restore
from ml.keeping.erase import erase
from ml.keeping.gc import gc
from ml.keeping.share import share
from ml.records import NoChampion, RunOutcome
from ml.registry import CHAMPION_ALIAS
from ml.store import Store
from ml.store.open import open_store
from ml.store.shared import bucket, lease
from tests.judge.examples import open_run, store_model
from tests.keeping.homes import CONFIG, DAY, promote_model, promoted, put
from tests.places import ADDRESSES, open_shared_run
from tests.state_server import ROOT

FREE = [("snapshots", "a" * 64), ("splits", "b" * 64), ("trainings", "c" * 64), ("checkpoints", "d" * 64)]
NEEDED = [("snapshots", "1" * 64), ("splits", "8" * 64)]


@pytest.fixture
def here(state_server, tmp_path):
    return open_shared_run(tmp_path / "here", "run-one")


@pytest.fixture
def there(state_server, tmp_path):
    return open_shared_run(tmp_path / "there", "clean-up")


@pytest.fixture
def old(here, state_server):
    """A champion, what it needs and what nobody needs, all of it 100 days old."""
    promote_model(here, store_model(here.store, "one"))
    for kind, name in [*NEEDED, *FREE]:
        put(here, kind, f"{name}/10" if kind == "checkpoints" else name)
    open_shared_run(here.reports.parent, "kept").keep_for_page(
        RunOutcome(outcome="kept", step="promote", reason="no gain", lines=())
    )
    here.mirror.send()
    state_server.age(100 * DAY)


def fresh(run):
    """The same home, as a process sees it that has just started."""
    return open_shared_run(run.reports.parent, run.run_id)


def there_are(run, places):
    return [fresh(run).store.contains(kind, name) for kind, name in places]


def test_what_nobody_needs_goes_from_the_store_and_from_each_home_that_cleans_up(old, here, there, state_server):
    told = gc(CONFIG, replace(there, dry_run=True))
    cleanup = gc(CONFIG, there)

    removed = {each.kind: each.number for each in cleanup.removed if each.number}
    assert removed == {"snapshots": 1, "splits": 1, "trainings": 1, "checkpoints": 1, "reports": 1}
    assert [each.bytes for each in told.removed] == [each.bytes for each in cleanup.removed]
    assert all(each.bytes > 0 for each in cleanup.removed if each.number)
    left = "\n".join(key for key in state_server.keys("") if not key.startswith("locks/"))
    assert [name in left for _, name in FREE] == [False] * 4
    assert there_are(there, NEEDED) == [True, True]
    assert state_server.keys("manifests/reports/") == ["manifests/reports/run-one"]

    assert (here.reports / "kept").is_dir()
    gc(CONFIG, fresh(here))
    assert not (here.reports / "kept").exists()
    assert [Store.contains(here.store, kind, name) for kind, name in FREE] == [False] * 4
    assert there.registry.check() == fresh(here).registry.check() == []


def test_what_another_host_needs_or_has_just_used_stays(old, here, there):
    mark_underway(here, model := store_model(here.store, "underway"))
    assert here.store.use(*FREE[0])
    gc(Config(retention=CONFIG.retention, gc=GcConfig(keep_bytes=0)), there)
    assert there_are(there, [FREE[0], ("models", model)]) == [True, True]


def test_a_question_is_erased_from_the_store_and_from_a_home_that_looks_again(here, there, state_server):
    put(here, "splits", "8" * 64)
    there.store.open("splits", "8" * 64)
    page = here.report_folder / "exploration.html"
    page.parent.mkdir(parents=True)
    page.write_text("<td>Who is he?</td>")
    here.mirror.send()
    there.mirror.fetch(here.run_id)

    erased = erase(there, ["b2"], same_text=False)
    there.mirror.send()

    assert (erased.places["splits"], erased.places["pages"]) == (1, 1)
    assert not [key for key, (content, _) in state_server.objects.items() if b"Who is he?" in content]
    assert len(state_server.keys("parts/splits/")) == 2, "the rows, and the mark that some were erased"
    assert pq.read_table(fresh(here).store.open("splits", "8" * 64) / "rows.parquet")["qid"].to_pylist() == ["a1", "c3"]
    here.mirror.fetch(here.run_id)
    assert page.read_text() == "<td>[erased]</td>"


@pytest.mark.parametrize("where", ["parts/splits/", "manifests/splits/", "DELETE"])
def test_an_erasure_that_was_cut_off_is_completed_by_the_same_command(here, there, state_server, monkeypatch, where):
    put(here, "splits", "8" * 64)
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)

    def fault(method, key):
        is_there = f"{method} {key}".startswith(("DELETE", "PUT")) and where in f"{method} {key}" and "/splits/" in key
        return 503 if is_there else 0

    state_server.fault = fault
    with pytest.raises(StoreUnavailable):
        erase(there, ["b2"], same_text=False)
    state_server.fault = lambda method, key: 0
    erase(fresh(there), ["b2"], same_text=False)
    assert not [key for key, (content, _) in state_server.objects.items() if b"Who is he?" in content]
    assert len(state_server.keys("parts/splits/")) == 2
    assert pq.read_table(fresh(here).store.open("splits", "8" * 64) / "rows.parquet").num_rows == 2


def test_what_was_never_sent_whole_goes_after_a_day(here, there, state_server):
    here.store.bucket.write(f"parts/models/{'e' * 64}/{'f' * 64}", b"12")
    there.store.tidy(["models"])
    assert len(state_server.keys("parts/")) == 1
    state_server.age(2 * DAY)
    there.store.tidy(["models"])
    assert state_server.keys("parts/") == []


def test_a_store_that_refuses_is_cleaned_up_by_none(old, there, state_server):
    before = state_server.keys()
    state_server.fault = lambda method, key: 403
    with pytest.raises(StoreRefused):
        gc(CONFIG, replace(there, dry_run=True))
    assert state_server.keys() == before


def test_a_backup_of_a_home_that_is_a_part_is_refused_with_what_to_do(here, tmp_path):
    for do in (back_up, restore):
        with pytest.raises(ConfigError, match=r"docs/store\.md"):
            do(here, tmp_path / "file.tar")
    assert not (tmp_path / "file.tar").exists()


def test_a_copy_of_all_below_the_prefix_is_a_backup(old, here, state_server, tmp_path):
    state_server.objects |= {key.replace(ROOT, "copy"): stored for key, stored in state_server.objects.items()}
    address = ADDRESSES["s3"].replace(ROOT, "copy")
    copy = open_shared_run(tmp_path / "copy", "check", address)
    assert copy.registry.check() == []
    assert list(copy.registry.history()) == list(here.registry.history())
    assert open_store({"SINCERE_STORE": address}, tmp_path / "copy").names("splits") == ["8" * 64, "b" * 64]


def test_a_home_is_shared_with_all_that_it_has(state_server, tmp_path, monkeypatch):
    home = tmp_path / "alone"
    alone = promoted(home, "one", "two", "three")
    put(alone, "splits", "8" * 64)
    alone.keep_for_page(RunOutcome(outcome="promoted", step="promote", reason="better", lines=()))
    state_server.fault = lambda method, key: 503 if method == "PUT" and len(state_server.keys("")) > 12 else 0
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.1)
    with pytest.raises((StoreUnavailable, RegistryUnavailable)):
        share(open_shared_run(home, "share"))
    state_server.fault = lambda method, key: 0
    there = open_shared_run(tmp_path / "there")
    assert there.registry.resolve(CHAMPION_ALIAS) == NoChampion()

    shared = share(open_shared_run(home, "share"))
    assert (shared.versions, shared.entries) == (3, 3)
    assert share(open_shared_run(home, "share")) == shared
    assert there.registry.check() == []
    assert there.registry.resolve(CHAMPION_ALIAS) == alone.registry.resolve(CHAMPION_ALIAS)
    assert list(there.registry.history()) == list(alone.registry.history())
    assert set(there.store.names("decisions")) == set(alone.store.names("decisions"))
    there.mirror.fetch("run-three")
    assert (there.reports / "run-three" / "page" / "RunOutcome.json").is_file()


def test_a_home_is_shared_with_no_store_that_has_another_registry(old, tmp_path):
    promoted(tmp_path / "alone", "another")
    with pytest.raises(ConfigError, match="another registry already"):
        share(open_shared_run(tmp_path / "alone", "share"))
    with pytest.raises(ConfigError, match="no object store"):
        share(open_run(tmp_path / "alone"))
