"""Two homes with one object store: what one stores, the other has, whole and verified."""

import os
import signal
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from ml.errors import LineageError, StoreDamaged, StoreRefused, StoreUnavailable
from ml.store import Store
from ml.store.erasures import keep_erasure, read_erasures
from ml.store.files import tree_digest
from ml.store.open import open_store
from ml.store.shared import bucket, folders, lease
from ml.store.shared.client import open_client
from ml.store.shared.store import SharedStore
from tests.places import ADDRESSES
from tests.state_server import ROOT

DAY = 86_400


@pytest.fixture
def here(server, tmp_path):
    return open_at(tmp_path / "here")


@pytest.fixture
def there(server, tmp_path):
    return open_at(tmp_path / "there")


def open_at(home, scheme="s3"):
    return open_store({"SINCERE_STORE": ADDRESSES[scheme]}, home)


def put(store, kind, name, **files):
    with store.staging() as folder:
        (folder / "below").mkdir()
        for file, content in files.items():
            (folder / "below" / file).write_bytes(content)
        return store.commit(folder, kind, name)


def test_without_the_variable_the_store_is_a_folder(tmp_path):
    assert type(open_store({"SINCERE_STORE": ""}, tmp_path)) is Store


@pytest.mark.parametrize("scheme", ADDRESSES)
def test_what_one_home_stores_the_other_has(server, tmp_path, scheme):
    place = put(open_at(tmp_path / "here", scheme), "models", "one", weights=b"12", empty=b"")
    there = open_at(tmp_path / "there", scheme)
    assert there.contains("models", "one")
    assert there.use("models", "one")
    assert tree_digest(there.open("models", "one")) == tree_digest(place)
    assert there.names("models") == ["one"]
    assert not there.contains("models", "another")
    with pytest.raises(LineageError, match="is not in the store"):
        there.open("models", "another")


def test_what_is_on_disk_is_not_fetched_again(server, here, there):
    put(here, "models", "one", weights=b"12")
    there.open("models", "one")
    server.asked.clear()
    there.open("models", "one")
    assert server.asked == []
    SharedStore(there.place("models", "one").parents[1], there.bucket).open("models", "one")
    assert server.asked == [("GET", f"{ROOT}/manifests/models/one")]


def test_an_upload_goes_on_where_it_was_cut_off_and_is_not_seen_before_it_is_whole(server, here, there, monkeypatch):
    monkeypatch.setattr(folders, "PART_BYTES", 10)
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    monkeypatch.setattr(bucket, "_AT_ONCE", 1)
    server.fault = lambda method, key: 503 if method == "PUT" and len(server.keys("parts/")) == 3 else 0
    with pytest.raises(StoreUnavailable):
        put(here, "models", "one", weights=bytes(range(65)))
    assert len(server.keys("parts/models/one/")) == 3
    assert not there.contains("models", "one")
    assert there.names("models") == []

    server.fault = lambda method, key: 0
    server.asked.clear()
    assert here.use("models", "one"), "the same home has it, and sends the rest"
    assert len(server.puts("parts/")) == 4
    assert (there.open("models", "one") / "below" / "weights").read_bytes() == bytes(range(65))


def test_a_download_goes_on_where_it_was_cut_off_and_is_not_seen_before_it_is_whole(server, here, there, monkeypatch):
    monkeypatch.setattr(folders, "PART_BYTES", 10)
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    monkeypatch.setattr(bucket, "_AT_ONCE", 1)
    put(here, "models", "one", weights=bytes(range(65)))
    server.asked.clear()
    got = lambda: [key for method, key in server.asked if "/parts/" in key]  # noqa: E731
    server.fault = lambda method, key: -3 if len(got()) >= 4 and "/parts/" in key else 0
    with pytest.raises(StoreUnavailable):
        there.open("models", "one")
    assert not Store.contains(there, "models", "one")

    server.fault = lambda method, key: 0
    server.asked.clear()
    assert (there.open("models", "one") / "below" / "weights").read_bytes() == bytes(range(65))
    assert len(got()) == 4


def test_a_changed_byte_in_the_store_is_refused(server, here, there):
    put(here, "models", "one", weights=b"content")
    (part,) = server.keys("parts/models/one/")
    server.objects[f"{ROOT}/{part}"] = b"cOntent", 0.0
    with pytest.raises(StoreDamaged, match="not what was stored"):
        there.open("models", "one")
    assert not Store.contains(there, "models", "one")


@pytest.mark.parametrize(
    "manifest",
    [b"{", b"", b'{"record":"StoredFolder","schema":1,"files":{"../../file":[]}}', b'{"files":{"/etc/file":[]}}'],
)
def test_a_manifest_that_is_none_or_leads_elsewhere_is_refused(server, here, there, tmp_path, manifest):
    put(here, "models", "one", weights=b"content")
    server.objects[f"{ROOT}/manifests/models/one"] = manifest, 0.0
    with pytest.raises(StoreDamaged):
        there.open("models", "one")
    assert not list(tmp_path.rglob("file"))


def test_a_part_that_is_lost_is_damage(server, here, there):
    put(here, "models", "one", weights=b"content")
    (part,) = server.keys("parts/models/one/")
    del server.objects[f"{ROOT}/{part}"]
    with pytest.raises(StoreDamaged):
        there.open("models", "one")


def test_what_a_refusing_store_did_not_take_is_sent_when_it_does(server, here, there):
    server.fault = lambda method, key: 403
    with pytest.raises(StoreRefused, match="forbids access"):
        put(here, "decisions", "one", decision=b"{}")
    server.fault = lambda method, key: 0
    assert here.open("decisions", "one")
    assert there.contains("decisions", "one")


def test_the_first_of_two_that_store_the_same_name_stays(server, here, there):
    put(here, "trainings", "one", summary=b"first")
    place = put(there, "trainings", "one", summary=b"second")
    assert (place / "below" / "summary").read_bytes() == b"first"


def test_what_is_dropped_is_gone_for_all(server, here, there):
    put(here, "models", "one", weights=b"content")
    there.open("models", "one")
    here.drop("models", "one")
    assert server.keys("manifests/") == server.keys("parts/") == []

    later = SharedStore(there.place("models", "one").parents[1], there.bucket)
    assert not later.contains("models", "one")
    later.tidy(["models"])
    assert Store.names(later, "models") == []


def test_a_name_is_replaced_and_dropped_for_all(server, here, there):
    here.put("pending", "run-1", {"run.json": "1", "probe.json": "2"})
    assert (there.open("pending", "run-1") / "run.json").read_text() == "1"
    here.put("pending", "run-1", {"run.json": "3"})
    here.put("pending", "run-10", {"run.json": "4"})
    assert [(path.name, path.read_text()) for path in there.open("pending", "run-1").iterdir()] == [("run.json", "3")]
    here.drop("pending", "run-1")
    assert (there.contains("pending", "run-1"), there.names("pending")) == (False, ["run-10"])


def test_a_name_is_as_old_as_it_is_in_the_store(server, here, there):
    here.put("underway", "run-1", {"model": "m"})
    server.age(DAY)
    assert DAY - 60 < time.time() - (there.open("underway", "run-1") / "model").stat().st_mtime < DAY + 60


def test_rows_that_one_home_erases_are_fetched_no_more_and_leave_the_other_when_it_looks(server, here, there):
    put(here, "splits", "one", rows=b"a person's question")
    there.open("splits", "one")
    with here.rewriting("splits", "one") as (old, new):
        (new / "rows").write_bytes(b"erased")
        assert (old / "below" / "rows").is_file()
    keep_erasure(here, ["id"])

    assert [content for key, (content, _) in server.objects.items() if "/parts/splits/" in key] == [b"erased"]
    later = SharedStore(there.place("splits", "one").parents[1], there.bucket)
    place = later.open("splits", "one")
    assert [path.read_bytes() for path in place.rglob("*") if path.is_file()] == [b"erased"]
    assert read_erasures(later).covered(["id", "another"]) == {"id"}


def test_what_is_unused_goes_unless_somebody_used_it_since(server, here, there):
    for name in ("one", "two"):
        put(here, "snapshots", name, rows=b"12")
    server.age(DAY)
    listed = {name: here.measured("snapshots", name) for name in here.names("snapshots")}
    assert {name: measured.bytes for name, measured in listed.items()} == {"one": 2, "two": 2}
    assert there.use("snapshots", "two")
    gone = [here.drop_unused("snapshots", name, since=measured.used) for name, measured in listed.items()]
    assert (gone, here.names("snapshots")) == ([True, False], ["two"])


def test_what_is_used_while_it_is_hidden_is_shown_again(server, here, there):
    put(here, "snapshots", "one", rows=b"12")
    server.age(DAY)
    used = here.measured("snapshots", "one").used
    server.before = lambda method, key: there.folders.touch("snapshots", "one") if method == "DELETE" else None
    assert not here.drop_unused("snapshots", "one", since=used)
    assert there.open("snapshots", "one")


def test_what_only_spares_a_retry_its_work_stays_in_its_home(server, here, there):
    put(here, "scores", "one", scores=b"12")
    assert here.contains("scores", "one")
    assert not there.contains("scores", "one")
    assert here.use("scores", "one")
    assert here.names("scores") == ["one"]
    assert (here.open("scores", "one") / "below" / "scores").read_bytes() == b"12"
    assert here.measured("scores", "one").bytes == 2
    here.drop_old("scores", days=1)
    assert here.contains("scores", "one")
    with here.replacing("scores", "one") as folder:
        (folder / "scores").write_bytes(b"345")
    assert here.measured("scores", "one").bytes == 3
    assert here.drop_unused("scores", "one", since=time.time())
    assert not here.contains("scores", "one")
    here.drop("scores", "one")
    assert server.asked == []


def test_steps_of_a_checkpoint_are_the_members_of_its_training(server, here, there):
    with here.lock_of("checkpoints", "key", waiting=""):
        for step in ("10", "20"):
            put(here, "checkpoints", f"key/{step}", state=step.encode())
        here.drop("checkpoints", "key/10")
    assert (there.members("checkpoints", "key"), there.names("checkpoints")) == (["20"], ["key"])
    assert (there.open("checkpoints", "key/20") / "below" / "state").read_bytes() == b"20"
    there.drop("checkpoints", "key")
    assert here.members("checkpoints", "key") == []
    assert server.keys("manifests/") == server.keys("parts/") == []


@pytest.mark.parametrize("status", [503, 403])
def test_a_training_goes_on_without_a_store_for_its_checkpoints(server, here, there, caplog, status):
    put(here, "checkpoints", "key/10", state=b"10")
    server.fault = lambda method, key: status
    put(here, "checkpoints", "key/20", state=b"20")
    assert "checkpoints are on this machine alone" in caplog.text
    asked = len(server.asked)
    assert sorted(here.members("checkpoints", "key")) == ["10", "20"]
    assert here.open("checkpoints", "key/20")
    here.drop("checkpoints", "key/10")
    assert len(server.asked) == asked, "for a while it is not asked again"

    server.fault = lambda method, key: 0
    here._away_until = 0.0
    here.tidy(["checkpoints"])
    put(here, "checkpoints", "key/30", state=b"30")
    assert here.members("checkpoints", "key") == ["10", "30", "20"]
    assert (there.members("checkpoints", "key"), there.names("checkpoints")) == (["10", "30"], ["key"])


def test_old_checkpoints_go_unless_a_training_holds_them(server, here, there):
    for key in ("old", "held"):
        put(here, "checkpoints", f"{key}/10", state=b"10")
    server.age(3 * DAY)
    with here.lock_of("checkpoints", "held", waiting=""):
        there.drop_old("checkpoints", days=2)
    assert there.names("checkpoints") == ["held"]


def test_one_host_at_a_time_holds_a_lock(server, here, there, caplog):
    order = []
    with here.lock("champion", waiting=""):
        other = threading.Thread(target=lambda: _hold(there, order))
        other.start()
        other.join(0.3)
        order.append("here")
    other.join(10)
    assert order == ["here", "there"]


def _hold(store, order):
    with store.lock("champion", waiting="waiting"):
        order.append("there")


def test_the_lock_of_a_host_that_died_passes_on(server, here, there, monkeypatch):
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.05)
    child = os.fork()
    if child == 0:
        bucket.open_client = open_client  # one of its own
        with suppress(BaseException), here.lock("champion", waiting=""):
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(server.keys("locks/champion/")) == 1
    with there.lock("champion", waiting=""):
        assert server.keys("locks/champion/") == ["locks/champion/00000002"]


def test_the_lock_of_a_host_that_is_alive_does_not(server, here, there, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=lambda: now[0]))
    holder, waiter = lease._Waiter(here.bucket, "champion"), lease._Waiter(there.bucket, "champion")
    assert holder.take()
    assert not waiter.take()
    now[0] += lease.STALE_SECONDS + 1
    holder.beat()
    assert not waiter.take()
    now[0] += lease.STALE_SECONDS - 1
    assert not waiter.take()
    now[0] += 2
    assert waiter.take(), "nobody has seen the holder for too long"


def test_who_holds_a_lock_shows_that_it_is_alive(server, here, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.01)
    with here.lock("champion", waiting=""):
        while len(server.puts("locks/")) < 4:
            time.sleep(0.01)
    assert server.objects[f"{ROOT}/locks/champion/00000001"][0] == b""


def test_locks_of_what_is_gone_are_swept(server, here):
    with here.lock_of("checkpoints", "key", waiting=""), here.lock("champion", waiting=""):
        pass
    server.age(2 * DAY)
    here.tidy([])
    assert server.keys() == ["locks/champion/00000001"]


def test_a_copy_of_the_prefix_is_a_whole_store(server, here, tmp_path):
    put(here, "models", "one", weights=b"12")
    server.objects |= {key.replace(ROOT, "copy"): stored for key, stored in server.objects.items()}
    copy = open_store({"SINCERE_STORE": ADDRESSES["s3"].replace(ROOT, "copy")}, tmp_path / "copy")
    assert (copy.open("models", "one") / "below" / "weights").read_bytes() == b"12"
