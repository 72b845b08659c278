"""What an object store does and costs: `SINCERE_STORE=s3://bucket/empty-prefix python -m benchmarks store`.

It proves on a real store what the tests prove on their own server: of many that create an object one does, a cut
upload goes on, what is fetched is what was sent, a changed byte is refused. It removes what it has made.
"""

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ml.errors import ConfigError, RegistryConflict, StoreDamaged
from ml.records import ModelVersion, NoChampion
from ml.registry import CHAMPION_ALIAS, Registry
from ml.registry.open import open_registry
from ml.store import Kind
from ml.store.files import tree_digest
from ml.store.open import open_store
from ml.store.shared.bucket import Bucket
from ml.store.shared.folders import described
from ml.store.shared.store import SharedStore

_MEGABYTES = 64
_HOSTS = 8
_KIND: Kind = "models"


def measure() -> list[dict[str, object]]:
    """Return a row for each thing that was tried: its seconds, and what was seen."""
    address = os.environ.get("SINCERE_STORE")
    if not address or Bucket(address).listing(""):
        fix = "name a prefix below which nothing is: all below it is removed"
        raise ConfigError("there is no empty object store to measure", where="SINCERE_STORE", fix=fix)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return [_timed(what, do, Path(folder)) for what, do in _TRIED.items()]
        finally:
            bucket = Bucket(address)
            bucket.remove(each.key for each in bucket.listing(""))


def _timed(what: str, do: Callable[[Path], str], folder: Path) -> dict[str, object]:
    began = time.perf_counter()
    seen = do(folder)
    return {"what": what, "seconds": time.perf_counter() - began, "seen": seen}


def _host(folder: Path, name: str) -> SharedStore:
    store = open_store(os.environ, folder / name)
    assert isinstance(store, SharedStore)
    return store


def _write_and_read(folder: Path) -> str:
    bucket = _host(folder, "one").bucket
    for number in range(10):
        bucket.write("small", str(number).encode())
        assert bucket.read("small") == str(number).encode()
    return "10 small objects written and read"


def _create_at_once(folder: Path) -> str:
    buckets = [_host(folder, "one").bucket for _ in range(_HOSTS)]
    with ThreadPoolExecutor(_HOSTS) as threads:
        won = list(threads.map(lambda host: buckets[host].create("one", str(host).encode()), range(_HOSTS)))
    assert won.count(True) == 1
    assert buckets[0].read("one") == str(won.index(True)).encode()
    return f"1 of {_HOSTS} hosts created it"


def _send(folder: Path) -> str:
    store, content = _host(folder, "one"), os.urandom(_MEGABYTES << 20)
    with store.staging() as staged:
        (staged / "weights").write_bytes(content)
        (staged / "empty").touch()
        model = tree_digest(staged)
        store.commit(staged, _KIND, model)
    return f"{_MEGABYTES} MiB"


def _fetch(folder: Path) -> str:
    store = _host(folder, "two")
    (model,) = store.names(_KIND)
    assert tree_digest(store.open(_KIND, model)) == model
    return f"{_MEGABYTES} MiB, with the digest that was sent"


def _go_on(folder: Path) -> str:
    store = _host(folder, "one")
    (model,) = store.names(_KIND)
    parts = store.bucket.listing(f"parts/{_KIND}/{model}/")
    lost = parts[len(parts) // 2 :]
    store.bucket.remove([f"manifests/{_KIND}/{model}", *(each.key for each in lost)])
    assert not _host(folder, "three").contains(_KIND, model)
    place = store.place(_KIND, model)
    store.folders.add(_KIND, model, place, described(place))
    times = {each.key: each.time for each in store.bucket.listing(f"parts/{_KIND}/{model}/")}
    sent = [each for each in parts if times[each.key] != each.time]
    assert len(sent) == len(lost)
    return f"{len(sent)} of {len(parts)} parts were sent again"


def _refuse(folder: Path) -> str:
    store = _host(folder, "one")
    (model,) = store.names(_KIND)
    part = store.bucket.listing(f"parts/{_KIND}/{model}/")[0]
    content = store.bucket.read(part.key)
    store.bucket.write(part.key, bytes([content[0] ^ 1]) + content[1:])
    try:
        _host(folder, "four").open(_KIND, model)
    except StoreDamaged:
        store.bucket.write(part.key, content)
        return "a changed byte is refused"
    raise AssertionError


def _move_at_once(folder: Path) -> str:
    address = os.environ["SINCERE_STORE"]
    registries = [open_registry(address, _host(folder, f"host-{number}")) for number in range(_HOSTS)]
    versions = list(map(_register, registries, [folder / f"model-{number}" for number in range(_HOSTS)]))

    def move(number: int) -> bool:
        try:
            registries[number].move_alias(CHAMPION_ALIAS, versions[number].version, expected=NoChampion())
        except RegistryConflict:
            return False
        return True

    with ThreadPoolExecutor(_HOSTS) as threads:
        won = list(threads.map(move, range(_HOSTS)))
    assert won.count(True) == 1
    assert registries[0].resolve(CHAMPION_ALIAS) == versions[won.index(True)]
    return f"1 of {_HOSTS} hosts moved the alias"


def _register(registry: Registry, artifact: Path) -> ModelVersion:
    artifact.mkdir()
    (artifact / "model.json").write_text(artifact.name)
    return registry.register(artifact, tree_digest(artifact))


_TRIED = {
    "small objects": _write_and_read,
    "one object, created at once": _create_at_once,
    "a folder is sent": _send,
    "and fetched elsewhere": _fetch,
    "a cut upload goes on": _go_on,
    "a changed byte": _refuse,
    "one alias, moved at once": _move_at_once,
}
