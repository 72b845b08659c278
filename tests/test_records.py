"""Records travel as strict, small, canonical JSON."""

import dataclasses
import hashlib
import json

import pytest

from ml.errors import LineageError
from ml.records import (
    AbsentChampion,
    Decision,
    FoundChampion,
    Inputs,
    RawSnapshot,
    RuleCheck,
    TrainedModel,
    Unrecorded,
    digest,
    from_json,
    read_any,
    to_json,
)

SNAPSHOT = RawSnapshot(source="file:q.csv", sha256="ab", rows=2, columns=("qid", "target"), bytes=9, quarantined_rows=0)
WIRE = (
    '{"bytes":9,"columns":["qid","target"],"quarantined_rows":0,"record":"RawSnapshot","rows":2,'
    '"sha256":"ab","source":"file:q.csv"}'
)
DECISION = Decision(
    verdict="keep",
    reason="recall is not higher",
    checks=(RuleCheck(rule="recall", observed="0.5", required="> 0.6", passed=False),),
    policy="p",
    candidate="c",
    champion=FoundChampion(version="v1", model="m"),
    comparison="d",
    inputs=Inputs(snapshot="s", config="g", suites="e", code="k"),
    splits="l",
    test="t",
    triggered_by="command line",
)


def test_a_record_on_the_wire_is_canonical_json():
    assert to_json(SNAPSHOT) == WIRE


def test_a_record_comes_back_as_it_went():
    assert from_json(WIRE, RawSnapshot) == SNAPSHOT


@pytest.mark.parametrize("champion", [AbsentChampion(), FoundChampion(version="v1", model="m")])
def test_found_and_absent_champions_come_back_as_themselves(champion):
    decision = dataclasses.replace(DECISION, champion=champion)
    assert read_any(to_json(decision)) == decision


def test_a_record_from_before_a_field_came_keeps_its_digest():
    wire = to_json(DECISION)

    assert not {"probe", "circumstances"} & json.loads(wire).keys()
    assert from_json(wire, Decision).circumstances == Unrecorded()
    assert digest(from_json(wire, Decision)) == hashlib.sha256(wire.encode()).hexdigest()


def test_a_later_field_is_written_where_it_says_something():
    decision = dataclasses.replace(DECISION, probe="f")

    assert json.loads(to_json(decision))["probe"] == "f"
    assert from_json(to_json(decision), Decision) == decision


def test_the_digest_is_of_the_wire_form():
    assert digest(SNAPSHOT) == hashlib.sha256(WIRE.encode()).hexdigest()


def test_an_integer_reads_as_a_float_where_a_float_belongs():
    wire = {"record": "TrainedModel", "model": "m", "splits": "s", "config": "c", "encoder": "e", "best_epoch": 1}
    wire |= {"threshold": 1, "examples_per_second": 110, "train_seconds": 2, "peak_memory_bytes": 3}
    assert from_json(json.dumps(wire), TrainedModel).threshold == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": "2"}, "RawSnapshot.rows"),
        ({"rows": True}, "bool where int belongs"),
        ({"rows": None}, "NoneType where int belongs"),
        ({"extra": 1}, r"unknown fields \['extra'\]"),
        ({"columns": "qid"}, "not a list"),
        ({"record": "Splits"}, "not a RawSnapshot"),
    ],
)
def test_a_record_that_is_not_exactly_right_is_refused(change, message):
    with pytest.raises(LineageError, match=message):
        from_json(json.dumps(json.loads(WIRE) | change), RawSnapshot)


def test_a_missing_field_is_refused():
    wire = json.loads(WIRE)
    del wire["rows"]
    with pytest.raises(LineageError, match=r"missing fields \['rows'\]"):
        from_json(json.dumps(wire), RawSnapshot)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"record":"Nothing"}'])
def test_what_is_not_a_record_is_refused(text):
    with pytest.raises(LineageError, match="unreadable record"):
        read_any(text)


def test_not_a_number_never_travels():
    check = RuleCheck(rule="x", observed=float("nan"), required="", passed=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Out of range float"):
        to_json(check)


def test_a_record_over_four_kibibytes_is_refused():
    with pytest.raises(LineageError, match="exceeds 4096"):
        to_json(dataclasses.replace(SNAPSHOT, source="x" * 4096))
