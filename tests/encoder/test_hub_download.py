"""Downloads from a server on this machine that serves a module as TF-Hub does."""

import io
import os
import tarfile

import pytest

from ml.encoder.hub_download import download_module
from ml.encoder.pretrained import read_encoder
from ml.encoder.weights import PretrainedBert
from ml.errors import ConfigError, SourceUnavailable
from ml.source import download
from tests.source.web import serving


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def archive(tiny_module):
    return packed(tiny_module)


def packed(folder, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        tar.add(folder, arcname=".")
    return buffer.getvalue()


def serving_module(body, **how):
    return serving(body, kind="application/gzip", **how)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_encoder_at_an_address_is_downloaded_once(archive):
    with serving_module(archive) as site:
        first, second = read_encoder(site.url), read_encoder(site.url)
    assert isinstance(first, PretrainedBert)
    assert first.vocabulary == second.vocabulary
    assert site.paths == ["/data.csv?tf-hub-format=compressed"]


def test_a_module_that_hub_has_in_its_cache_is_taken(archive):
    import tensorflow_hub as hub

    with serving_module(archive) as site:
        assert str(download_module(site.url)) == hub.resolve(site.url)
    assert len(site.paths) == 1


def test_a_download_resumes_where_it_broke_off(archive, tiny_module):
    with serving_module(archive, breaks=[len(archive) // 2]) as site:
        folder = download_module(site.url)
    assert files(folder) == files(tiny_module)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.6, 0.99])
def test_a_download_that_keeps_breaking_off_leaves_nothing(tiny_module, cache, kept):
    body = packed(tiny_module, "w")
    with (
        serving_module(body, ranges=False, breaks=[int(len(body) * kept)] * 5) as site,
        pytest.raises(SourceUnavailable, match="in 5 attempts"),
    ):
        read_encoder(site.url)
    assert list(cache.iterdir()) == []


def test_a_hub_that_is_down_may_be_tried_again(archive, cache):
    with serving_module(archive) as site:
        url = site.url
    with pytest.raises(SourceUnavailable, match="ConnectionError"):
        read_encoder(url)
    assert list(cache.iterdir()) == []


def test_a_hub_in_trouble_may_be_tried_again(cache):
    with serving_module(b"", status=503) as site, pytest.raises(SourceUnavailable, match="503"):
        read_encoder(site.url)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "how", "message"),
    [
        (b"", {"status": 404}, "no such file"),
        (b"<p>Moved", {"kind": "text/html"}, "web page"),
        (b"not an archive", {}, "not a whole archive"),
    ],
    ids=["404", "web page", "other file"],
)
def test_an_address_without_a_module_is_refused(cache, body, how, message):
    with serving(body, **{"kind": "application/gzip", **how}) as site, pytest.raises(ConfigError, match=message):
        read_encoder(site.url)
    assert list(cache.iterdir()) == []


def test_an_archive_that_is_cut_off_is_refused(archive, cache):
    with serving_module(archive[:-100]) as site, pytest.raises(ConfigError, match="not a whole archive"):
        read_encoder(site.url)
    assert list(cache.iterdir()) == []


def test_an_archive_of_something_else_is_refused(tmp_path, cache):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readme.txt").write_text("hello")
    with serving_module(packed(tmp_path / "other")) as site, pytest.raises(ConfigError, match=r"no saved_model\.pb"):
        read_encoder(site.url)
    assert list(cache.iterdir()) == []


def test_an_archive_that_climbs_is_refused(tmp_path, cache):
    (tmp_path / "file").write_text("hello")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(tmp_path / "file", arcname="../../../climbed")
    with serving_module(buffer.getvalue()) as site, pytest.raises(ConfigError, match="OutsideDestination"):
        read_encoder(site.url)
    assert not (tmp_path / "climbed").exists()


def test_another_scheme_is_refused():
    with pytest.raises(ConfigError, match="begins with http"):
        read_encoder("gs://bucket/module")


def test_a_cache_that_others_may_write_to_is_refused_before_any_module_in_it_is_read(archive, cache):
    with serving_module(archive) as site:
        download_module(site.url)
        cache.chmod(0o777)
        with pytest.raises(ConfigError, match="others may put modules into the cache") as caught:
            download_module(site.url)
    assert "TFHUB_CACHE_DIR" in caught.value.where


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_cache_that_somebody_else_has_made_is_refused(archive, cache):
    cache.mkdir()
    os.chown(cache, 12345, 12345)
    with serving_module(archive) as site, pytest.raises(ConfigError, match="others may put modules"):
        download_module(site.url)


@pytest.mark.parametrize(("variable", "folder"), [("XDG_CACHE_HOME", "."), ("HOME", ".cache")])
def test_the_usual_cache_is_the_users_own_and_nobody_elses(archive, monkeypatch, tmp_path, variable, folder):
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "user"))
    with serving_module(archive) as site:
        module = download_module(site.url)
    assert module.parent == tmp_path / "user" / folder / "tfhub_modules"
    assert module.parent.stat().st_mode & 0o777 == 0o700
