"""Records travel as strict, small, canonical JSON."""

import dataclasses
import hashlib
import json

import pytest
from pydantic import ValidationError

from ml.errors import LineageError
from ml.records import Evaluation, ModelVersion, NoChampion, RawSnapshot, digest, from_json, read_any, to_json
from tests.judge.examples import RIVAL, compare, judged

SNAPSHOT = RawSnapshot(source="file:q.csv", sha256="ab", rows=2, columns=("qid", "target"), bytes=9, quarantined_rows=0)
WIRE = (
    '{"bytes":9,"columns":["qid","target"],"quarantined_rows":0,"record":"RawSnapshot","rows":2,"schema":1,'
    '"sha256":"ab","source":"file:q.csv"}'
)
DECISION = judged(compare("a" * 64, RIVAL))


def test_a_record_on_the_wire_is_canonical_json():
    assert to_json(SNAPSHOT) == WIRE


def test_a_record_comes_back_as_it_went():
    assert from_json(WIRE, RawSnapshot) == SNAPSHOT


@pytest.mark.parametrize("champion", [NoChampion(), ModelVersion(version="v1", model="m")])
def test_found_and_absent_champions_come_back_as_themselves(champion):
    decision = dataclasses.replace(DECISION, champion=champion)
    assert read_any(to_json(decision)) == decision


def test_the_digest_is_of_the_wire_form():
    assert digest(SNAPSHOT) == hashlib.sha256(WIRE.encode()).hexdigest()


def test_an_integer_reads_as_a_float_where_a_float_belongs():
    wire = json.loads(to_json(RIVAL.evaluation)) | {"threshold": 1}
    assert from_json(json.dumps(wire), Evaluation).threshold == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": "2"}, r"valid integer\n  where: RawSnapshot\.rows"),
        ({"rows": True}, "valid integer"),
        ({"rows": None}, "valid integer"),
        ({"rows": 1.5}, "valid integer"),
        ({"extra": 1}, r"Unexpected keyword argument\n  where: RawSnapshot\.extra"),
        ({"columns": "qid"}, "valid array"),
        ({"record": "Splits"}, "not a RawSnapshot"),
        ({"schema": 2}, "not of schema 1"),
        ({"source": "\ud800"}, "Invalid JSON"),
    ],
)
def test_a_record_that_is_not_exactly_right_is_refused(change, message):
    with pytest.raises(LineageError, match=message):
        from_json(json.dumps(json.loads(WIRE) | change), RawSnapshot)


def test_a_missing_field_is_refused():
    wire = json.loads(WIRE)
    del wire["rows"]
    with pytest.raises(LineageError, match=r"Field required\n  where: RawSnapshot\.rows"):
        from_json(json.dumps(wire), RawSnapshot)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"record":"Nothing"}', "9" * 5000, "[" * 100_000, '{"record":"RawSnapshot"}']
)
def test_what_is_not_a_record_is_refused(text):
    with pytest.raises(LineageError, match="unreadable record"):
        read_any(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_a_number_never_travels(value):
    with pytest.raises(ValidationError):
        dataclasses.replace(RIVAL.evaluation, f1=value)
    wire = to_json(RIVAL.evaluation).replace('"f1":0.6461538', f'"f1":{json.dumps(value)}')
    with pytest.raises(LineageError, match=r"finite number\n  where: Evaluation\.f1"):
        from_json(wire, Evaluation)


def test_a_reason_never_repeats_a_value():
    wire = json.dumps(json.loads(WIRE) | {"rows": "a question"})
    with pytest.raises(LineageError) as raised:
        from_json(wire, RawSnapshot)
    assert "a question" not in str(raised.value)
