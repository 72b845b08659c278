"""How a record is written and read: plain JSON, keys sorted, strict, with its kind and the number of the schema."""

import hashlib
import json
from collections.abc import Collection
from typing import Any, Literal, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, Discriminator, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ml.errors import LineageError

SCHEMA = 1
_LONGEST_REASON = 200
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
BY_NAME = Discriminator("record")
R = TypeVar("R")
_RECORDS: dict[str, type] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[R]) -> type[R]:
    """Make a class a frozen dataclass with strictly checked fields; its JSON names the class in the field `record`."""
    cls.__annotations__ = {"record": Literal[cls.__name__], **cls.__annotations__}
    cls.record = cls.__name__  # type: ignore[attr-defined]
    made = cast(type[R], dataclass(cls, frozen=True, kw_only=True, config=_STRICT))
    _RECORDS[cls.__name__] = made
    return made


def to_json(record: Any) -> str:
    """Return the record as canonical JSON: sorted keys, no spaces, no NaN, with the schema number."""
    return _canonical(record, leave_out=())


def from_json(text: str, kind: type[R]) -> R:
    """Read a record of `kind` strictly; a missing, unknown or mistyped field raises LineageError."""
    wire = _read_object(text)
    if wire.get("record") != kind.__name__:
        raise _unreadable(f"not a {kind.__name__}", kind.__name__)
    if wire.pop("schema", "none") != SCHEMA:
        raise _unreadable(f"not of schema {SCHEMA}, which this version of the code reads and writes", kind.__name__)
    try:
        return TypeAdapter(kind).validate_json(json.dumps(wire))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        what = "of no known kind" if first["type"] == "union_tag_invalid" else first["msg"]  # which quotes the value
        raise _unreadable(what, ".".join(map(str, (kind.__name__, *first["loc"])))) from None


def kind_of(text: str) -> type:
    """Return the kind of record that the JSON's own `record` field names; raises LineageError if there is none."""
    name = _read_object(text).get("record")
    if not isinstance(name, str) or name not in _RECORDS:
        raise _unreadable("not a JSON object whose field `record` names a kind of record", "record")
    return _RECORDS[name]


def digest(record: Any) -> str:
    """Return the sha256, in hex, of the record's canonical JSON without the fields that its class names in BESIDE."""
    return hashlib.sha256(_canonical(record, leave_out=getattr(record, "BESIDE", ())).encode()).hexdigest()


def _canonical(record: Any, *, leave_out: Collection[str]) -> str:
    plain = TypeAdapter(type(record)).dump_python(record, mode="json")
    wire = {name: value for name, value in {**plain, "schema": SCHEMA}.items() if name not in leave_out}
    return json.dumps(wire, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def _read_object(text: str) -> dict[str, Any]:
    try:
        wire = json.loads(text)
    except (ValueError, RecursionError):  # JSONDecodeError is a ValueError; a number of 5,000 digits raises one, too
        raise _unreadable("not JSON", "record") from None
    if not isinstance(wire, dict):
        raise _unreadable("not a JSON object", "record")
    return wire


def _unreadable(what: str, where: str) -> LineageError:
    return LineageError(
        f"unreadable record: {what[:_LONGEST_REASON]}",
        where=where[:_LONGEST_REASON],
        fix="run the step before this one again with the same version of the code",
    )
