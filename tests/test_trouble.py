"""Each place that names what it could not read says what waits for a person, and leaves to a retry what passes."""

import resource
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml.cli import main
from ml.config import Config, SourceConfig
from ml.config.load import load_config
from ml.data.expectations.suites import read_suites
from ml.encoder.folder_settings import read_json, read_pooling
from ml.encoder.hub_download import _extract
from ml.encoder.huggingface import WEIGHTS_FILE, _Tensors, read_huggingface
from ml.encoder.weights import read_vocabulary
from ml.errors import PermanentError, RegistryRefused, RegistryUnavailable, passes_by_itself
from ml.registry.local import LocalRegistry
from ml.source import kaggle
from ml.source.sample import write_sample
from ml.source.unpack import unpack
from ml.store.shared import bucket
from tests.places import ADDRESSES


@contextmanager
def no_more_files():
    """Let this process open no further file, as where too many are open: this passes by itself."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def load_model(folder):
    from ml.model.predict import load_model

    load_model(folder)


def extract(folder):
    with tarfile.open(folder / "archive", "w") as tar:
        tar.add(folder / "file", "saved_model.pb")
    return lambda: _extract(folder / "archive", folder / "module")


SITES = {
    "a model": lambda folder: lambda: load_model(folder),
    "a suite": lambda folder: lambda: read_suites(Config().validate),
    "settings": lambda folder: lambda: load_config(str(folder / "file.toml"), []),
    "a vocabulary": lambda folder: lambda: read_vocabulary(folder / "file"),
    "an encoder's settings": lambda folder: lambda: read_json(folder / "file"),
    "an encoder's modules": lambda folder: lambda: read_pooling(folder, has_pooler=True),
    "an encoder's weights": lambda folder: lambda: _Tensors(folder / "file"),
    "a module's archive": extract,
    "a login at Kaggle": lambda folder: lambda: kaggle._text(folder / "file"),
    "an archive": lambda folder: lambda: unpack(folder / "file", folder / "rows", SourceConfig(), source="file:a"),
}


@pytest.mark.parametrize("site", SITES.values(), ids=SITES.keys())
def test_trouble_that_passes_is_no_error_of_the_file(site, tmp_path):
    for name in ("file", "file.toml", "modules.json", "model.json"):
        (tmp_path / name).write_text("[]", encoding="utf-8")
    call = site(tmp_path)
    with pytest.raises(OSError, match="Too many open files") as raised, no_more_files():
        call()
    assert passes_by_itself(raised.value)


@pytest.mark.parametrize("site", SITES.values(), ids=SITES.keys())
def test_a_file_that_is_not_there_or_not_what_it_should_be_waits_for_a_person(site, tmp_path):
    if site is SITES["a suite"]:
        return
    (tmp_path / "file").write_bytes(b"\x1f\x8b\0")
    (tmp_path / "modules.json").mkdir()
    call = site(tmp_path)
    (tmp_path / "archive").unlink(missing_ok=True)
    try:
        call()
    except (PermanentError, OSError) as error:
        assert not passes_by_itself(error)


def test_a_registry_that_cannot_be_opened_for_now_is_tried_again_and_one_in_the_way_is_not(tmp_path):
    (tmp_path / "aliases.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RegistryUnavailable, match="Too many open files"), no_more_files():
        LocalRegistry(tmp_path).resolve("production")
    with pytest.raises(RegistryRefused, match="Not a directory"):
        LocalRegistry(tmp_path / "aliases.json").resolve("production")


def test_the_weights_of_a_whole_folder_wait_for_memory_or_files_too(tiny_encoder: Path):
    assert read_huggingface(tiny_encoder).weights
    with pytest.raises(OSError, match="Too many open files"), no_more_files():
        _Tensors(tiny_encoder / WEIGHTS_FILE)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(503, (75, "did not get an answer")), (403, (65, "ended the run")), (404, (65, "ended the run"))],
)
def test_a_step_whose_object_store_is_away_or_refuses_leaves_a_verdict(
    state_server, tmp_path, monkeypatch, status, expected
):
    ended, said = expected
    address = ADDRESSES["s3"] if status != 404 else "s3://another-bucket/state"
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    monkeypatch.setenv("SINCERE_STORE", address)
    write_sample(tmp_path / "rows.csv", rows=100, seed=1)
    state_server.fault = lambda method, key: status
    command = ["snapshot", "--source", str(tmp_path / "rows.csv"), "--run-id", "run-1"]
    assert main(command) == ended
    verdict = tmp_path / "reports" / "run-1" / "verdict.txt"
    assert said in verdict.read_text()
    assert "the-secret" not in verdict.read_text()

    verdict.unlink()
    killed = ["--status", "-9", "--what", "it was killed", "--where", "here", "--fix", "try again"]
    assert main(["ended", "snapshot", "--run-id", "run-1", *killed]) == ended
    assert "it was killed" in verdict.read_text()

    state_server.fault = lambda method, key: 0
    monkeypatch.setenv("SINCERE_STORE", ADDRESSES["s3"])
    assert main(command) == 0
