"""Whatever settings, records, verdicts and SavedModels say, they are read, or refused by one of our errors, at once.

To try 10,000 of each: HYPOTHESIS_EXAMPLES=10000 python -m pytest tests/test_any_input.py
"""

import json
import string
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.config.load import load_config
from ml.config.settings_reference import setting_schemas
from ml.encoder.saved_model import read_saved_model
from ml.errors import SincereError
from ml.records import NoChampion, digest, read_any, to_json
from ml.report.words.verdict import newest_verdict
from tests.any_input import any_input
from tests.judge.examples import FIRST_ENTRY, compare, judged, probed

LONGEST_SECONDS, LONGEST_MESSAGE = 1.0, 500
SECRET = "sesame"

numbers = st.one_of(st.integers(), st.floats(), st.just(10**400), st.just(-(2**63)), st.just(float("nan")))
texts = st.one_of(st.text(), st.just(SECRET * 2_000), st.just("\ud800"), st.just("~nobody/x"), st.just("a\0b"))
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
trees = st.recursive(leaves, lambda each: st.lists(each, max_size=3) | st.dictionaries(texts, each, max_size=3))
settings_names = st.one_of(
    st.sampled_from(sorted(setting_schemas())), st.text(string.ascii_lowercase + "._", min_size=1)
)


def refused(call):
    """Call, and say whether one of our errors came, short and without what it was given."""
    before = time.process_time()
    try:
        call()
    except SincereError as error:
        assert SECRET * 20 not in str(error)
        assert len(str(error)) < LONGEST_MESSAGE
        return True
    finally:
        assert time.process_time() - before < LONGEST_SECONDS
    return False


@any_input
@given(settings_names, st.one_of(trees.map(json.dumps), texts))
def test_any_override_is_taken_or_refused(name, value):
    refused(lambda: load_config("local", [f"{name}={value}"]))


@any_input
@given(st.one_of(st.binary(), texts.map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_any_file_of_settings_is_taken_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(b'extends = "local"\n' + content)
    refused(lambda: load_config(str(path), []))


COMPARISON = compare("a" * 64, NoChampion())
RECORDS = [json.loads(to_json(each)) for each in (COMPARISON, judged(COMPARISON), probed(COMPARISON), FIRST_ENTRY)]


def places(tree, path=()):
    """Yield the path to each part of a tree."""
    yield path
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def replaced(tree, path, value):
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = replaced(tree[path[0]], path[1:], value)
    return copy


changed_records = st.sampled_from(RECORDS).flatmap(
    lambda tree: st.builds(replaced, st.just(tree), st.sampled_from(list(places(tree))), trees)
)


@any_input
@given(st.one_of(changed_records.map(json.dumps), texts))
def test_any_record_is_read_so_that_it_has_a_digest_or_refused(text):
    refused(lambda: digest(read_any(text)))


@any_input
@given(st.binary())
def test_any_verdict_is_shown(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "reports" / "run"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "verdict.txt").write_bytes(content)
    assert not refused(lambda: newest_verdict(folder.parent))


@pytest.fixture(scope="module")
def graph(tiny_module: Path) -> bytes:
    return (tiny_module / "saved_model.pb").read_bytes()[:20_000]


@any_input
@given(st.data())
def test_any_saved_model_is_read_or_is_none(graph, data):
    start = data.draw(st.integers(0, len(graph)))
    content = graph[:start] + data.draw(st.binary()) + graph[data.draw(st.integers(start, len(graph))) :]
    try:
        read_saved_model(content)
    except ValueError:
        return
