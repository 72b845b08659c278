"""A candidate whose rows come from another source than the champion's."""

from dataclasses import replace

import pytest

from ml.config import PolicyConfig
from ml.judge.policy import judge
from ml.records import ModelVersion, NoChampion, NoPromotion, SourceName, UnknownSource
from ml.registry.history import champion_source
from tests.judge.examples import EVIDENCE, FIRST_ENTRY, RIVAL, compare

WEEKLY, OTHER, SAMPLE = (SourceName(name=name) for name in ("s3://bucket/train.csv", "file:mine.csv", "sample"))
V1, V2 = (ModelVersion(version=f"v{number}", model=str(number) * 64) for number in (1, 2))


def judged(source, champion_source, *, forced=False):
    past = replace(EVIDENCE.past, champion_source=champion_source, forced=forced)
    comparison = replace(compare("a" * 64, RIVAL), source=source)
    return judge(comparison, replace(EVIDENCE, past=past), PolicyConfig())


@pytest.mark.parametrize("champions", [OTHER, UnknownSource(), SAMPLE], ids=str)
def test_rows_of_another_source_need_force_and_the_verdict_says_so(champions):
    verdict, reason, checks = judged(WEEKLY, champions)
    (check,) = [check for check in checks if check.rule == "same source"]
    assert (verdict, check.passed, check.observed) == ("blocked", False, "s3://bucket/train.csv")
    assert reason == "Champion v1 stays: the rows come from another source than the champion's."

    verdict, _, checks = judged(WEEKLY, champions, forced=True)
    (check,) = [check for check in checks if check.rule == "same source"]
    assert (verdict, check.passed, check.observed) == ("promote", True, "s3://bucket/train.csv, but forced")


@pytest.mark.parametrize("champions", [WEEKLY, UnknownSource()], ids=str)
def test_the_sample_never_replaces_a_champion_of_anything_else(champions):
    assert judged(SAMPLE, champions, forced=True).verdict == "blocked"
    assert judged(SAMPLE, SAMPLE).verdict == "promote"


def test_the_same_source_is_no_obstacle():
    assert judged(WEEKLY, WEEKLY).verdict == "promote"


def test_a_record_of_before_there_were_names_is_judged_as_it_was():
    assert [check.rule for check in judged(UnknownSource(), NoPromotion()).checks if "source" in check.rule] == []


def test_a_champion_has_the_source_of_its_promotion_even_after_a_rollback():
    first = replace(FIRST_ENTRY, source=WEEKLY)
    second = replace(FIRST_ENTRY, version="v2", source=OTHER)
    back = replace(FIRST_ENTRY, verdict="rollback", source=UnknownSource())
    assert champion_source([first, second], V2) == OTHER
    assert champion_source([first, second, back], V1) == WEEKLY
    assert champion_source([first], NoChampion()) == NoPromotion()
