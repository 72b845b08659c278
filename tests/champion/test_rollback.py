"""Rollback with real models in a real registry: the target is served in a fresh process before the alias moves."""

import shutil
from dataclasses import replace

import pytest
import tensorflow as tf

from ml.champion.promote import promote
from ml.champion.rollback import plan_rollback, roll_back
from ml.config import Config
from ml.errors import ConfigError, LineageError, ServingError
from ml.records import ModelVersion, NoChampion, digest, to_json
from ml.registry import CHAMPION_ALIAS
from ml.report.words.verdict import read_verdict
from ml.steps import run_rollback
from ml.store.files import tree_digest
from tests.judge.examples import (
    CHAMPION,
    DESCRIPTION,
    RIVAL,
    compare,
    compare_next,
    judged,
    open_run,
    probed,
    store_model,
)

pytestmark = pytest.mark.usefixtures("quick_servers")


class Measurer(tf.Module):
    """A model whose probability is the number of characters divided by 10, at most 1."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def score(self, texts):
        return {"probability": tf.minimum(tf.cast(tf.strings.length(texts), tf.float32) / 10, 1)}


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measurer") / "saved_model"
    module = Measurer()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.score})
    return folder


def store_measurer(store, saved_model, threshold):
    with store.staging() as folder:
        shutil.copytree(saved_model, folder / "saved_model")
        (folder / "model.json").write_text(to_json(replace(DESCRIPTION, threshold=threshold)), encoding="utf-8")
        model = tree_digest(folder)
        store.commit(folder, "models", model)
    return model


def promote_model(home, model, run_id):
    run = open_run(home, run_id)
    champion = run.registry.resolve(CHAMPION_ALIAS)
    first = isinstance(champion, NoChampion)
    rival = champion if first else replace(RIVAL, champion=champion, evaluation=replace(CHAMPION, model=champion.model))
    comparison = compare(model, rival)
    promote(Config(), run, comparison, judged(comparison), probed(comparison))


def promote_contents(home, *contents):
    """Promote v1, v2, … one after the other; these models do not load."""
    store = open_run(home).store
    for number, content in enumerate(contents):
        promote_model(home, store_model(store, content), f"run-{number}")


@pytest.fixture
def home(tmp_path, saved_model):
    """Make a home whose champion is v2 and was v1 before; both models load."""
    store = open_run(tmp_path).store
    for number in (1, 2):
        promote_model(tmp_path, store_measurer(store, saved_model, number / 10), f"run-{number}")
    return tmp_path


def test_the_predecessor_is_champion_again_and_the_history_says_why(home):
    run = open_run(home, "back-1")

    rollback = roll_back(run, to=None, reason="too many false alarms")

    assert (rollback.target.version, rollback.previous.version) == ("v1", "v2")
    assert run.registry.resolve(CHAMPION_ALIAS) == rollback.target
    entry = run.registry.history()[-1]
    assert (entry.verdict, entry.version, entry.previous) == ("rollback", "v1", rollback.previous)
    assert (entry.reason, entry.triggered_by) == ("too many false alarms", "command line")


def test_a_model_that_does_not_load_never_becomes_champion(tmp_path):
    promote_contents(tmp_path, "first", "second")
    run = open_run(tmp_path, "back-1")

    with pytest.raises(ServingError, match="does not serve"):
        roll_back(run, to="v1", reason="a try")

    assert run.registry.resolve(CHAMPION_ALIAS).version == "v2"
    assert len(run.registry.history()) == 2


def test_a_second_rollback_goes_one_further_back(tmp_path):
    promote_contents(tmp_path, "first", "second", "third")
    run = open_run(tmp_path, "back-1")
    promoted = run.registry.history()[-1]
    plan = plan_rollback(run, None, "worse")
    run.registry.move_alias(CHAMPION_ALIAS, "v2", expected=plan.previous)
    entry = replace(promoted, run_id="back-1", verdict="rollback", version="v2", previous=plan.previous)
    run.registry.record(entry, plan)

    assert plan_rollback(open_run(tmp_path, "back-2"), None, "worse still").target.version == "v1"


def test_an_interrupted_move_needs_a_target_by_name(tmp_path):
    promote_contents(tmp_path, "first", "second")
    run = open_run(tmp_path, "back-1")
    run.registry.move_alias(CHAMPION_ALIAS, "v1", expected=run.registry.resolve(CHAMPION_ALIAS))

    with pytest.raises(LineageError, match="by the history it was last moved elsewhere"):
        plan_rollback(run, None, "unclear")

    assert plan_rollback(run, "v1", "as it is").target.version == "v1"


def test_a_first_champion_has_nothing_to_go_back_to(tmp_path):
    promote_contents(tmp_path, "first")

    with pytest.raises(ConfigError, match="champion v1 took over from none"):
        plan_rollback(open_run(tmp_path), None, "a try")


def test_without_a_champion_there_is_nothing_to_roll_back(tmp_path):
    with pytest.raises(ConfigError, match="no champion"):
        plan_rollback(open_run(tmp_path), None, "a try")


def test_the_champion_itself_is_no_target(tmp_path):
    promote_contents(tmp_path, "first", "second")

    with pytest.raises(ConfigError, match="v2 is the champion already"):
        plan_rollback(open_run(tmp_path), "v2", "a try")


def test_an_unknown_version_is_no_target(tmp_path):
    promote_contents(tmp_path, "first", "second")

    with pytest.raises(LineageError, match="there is no version v9"):
        plan_rollback(open_run(tmp_path), "v9", "a try")


def block(home, content):
    """A candidate that is not promoted."""
    run = open_run(home, f"run-{content}")
    comparison = compare_next(run, content, precision=0.4)
    return promote(Config(), run, comparison, judged(comparison), probed(comparison)).version


def go(run, to=None):
    """A rollback to a version that is believed to serve."""
    plan = plan_rollback(run, to, "a try")
    entry = replace(run.registry.history()[0], run_id=run.run_id, verdict="rollback", version=plan.target.version)
    run.registry.move_alias(CHAMPION_ALIAS, plan.target.version, expected=plan.previous)
    run.registry.record(replace(entry, previous=plan.previous, decision=digest(plan), reason=plan.reason), plan)
    return plan.target.version


def test_a_version_that_was_blocked_needs_force_and_its_verdict_is_repeated(tmp_path):
    promote_contents(tmp_path, "first")
    assert block(tmp_path, "worse") == "v2"
    run = open_run(tmp_path, "back-1")

    with pytest.raises(
        ConfigError, match=r"v2 was never promoted, its verdict was blocked: .*precision floor"
    ) as raised:
        plan_rollback(run, "v2", "a try")
    assert "--force" in raised.value.fix

    plan = plan_rollback(replace(run, force=True), "v2", "a try")
    assert plan.reason.startswith("a try (forced: v2 was never promoted, its verdict was blocked: ")


def test_after_a_forced_rollback_the_next_leads_to_the_champion_of_before(tmp_path):
    promote_contents(tmp_path, "first")
    block(tmp_path, "worse")

    assert go(replace(open_run(tmp_path, "back-1"), force=True), "v2") == "v2"
    assert go(open_run(tmp_path, "back-2")) == "v1"
    with pytest.raises(ConfigError, match="v2 was never promoted"):
        plan_rollback(open_run(tmp_path, "back-3"), None, "and back again")


@pytest.mark.parametrize(
    ("targets", "champions"),
    [
        ([None, None], ["v2", "v1"]),
        ([None, None, None], ["v2", "v1", "v2"]),
        (["v1", None], ["v1", "v3"]),
        (["v1", "v3", None], ["v1", "v3", "v1"]),
        (["v2", "v3", None], ["v2", "v3", "v2"]),
    ],
)
def test_rollbacks_go_down_to_the_first_champion_and_back_again(tmp_path, targets, champions):
    promote_contents(tmp_path, "first", "second", "third")

    assert [go(open_run(tmp_path, f"back-{number}"), to) for number, to in enumerate(targets)] == champions


def test_a_rollback_leaves_a_verdict_whatever_comes_of_it(home):
    run = open_run(home, "back-1")
    with pytest.raises(ConfigError):
        run_rollback(run, to="v2", reason="a try")
    assert read_verdict(run.report_folder).startswith("FAILED: the step rollback ended the run.")

    run_rollback(run, to=None, reason="too many false alarms")

    assert read_verdict(run.report_folder).split("\n") == [
        "ROLLBACK: too many false alarms",
        "",
        "production: v1 (before: v2)",
    ]


def test_a_version_that_was_never_judged_is_no_target(tmp_path):
    promote_contents(tmp_path, "first", "second")
    run = open_run(tmp_path)
    model = store_model(run.store, "third")
    version = run.registry.register(run.store.open("models", model), model)

    assert version == ModelVersion(version="v3", model=model)
    with pytest.raises(LineageError, match="no verdict on v3"):
        plan_rollback(run, "v3", "a try")
