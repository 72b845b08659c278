"""Read what a SavedModel says of itself, without TensorFlow: names, assets and shapes, from saved_model.pb.

The fields are those of saved_model, meta_graph and saved_object_graph.proto in tensorflow/core/protobuf, in the form of
https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
# Numbers of fields.
_META_GRAPH, _ASSET, _OBJECT_GRAPH = 2, 6, 7
_ASSET_FILE = 2
_OBJECT, _CHILD, _VARIABLE = 1, 1, 7
_CHILD_NAME = 2
_SHAPE, _NAME = 2, 6
_DIMENSION, _SIZE = 2, 1

Value = int | memoryview


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """Attributes of the root object, files below `assets`, and the shape of each variable by name."""

    attributes: frozenset[str]
    assets: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]


def read_saved_model(content: bytes) -> SavedModel:
    """Read the bytes of a saved_model.pb; raises ValueError if they are none."""
    graphs = [_bytes(value) for number, value in _fields(memoryview(content)) if number == _META_GRAPH]
    if not graphs:
        raise ValueError("there is no graph")
    fields = list(_fields(graphs[0]))
    assets = [_text(_first(_bytes(value), _ASSET_FILE)) for number, value in fields if number == _ASSET]
    objects = [
        _bytes(each)
        for number, value in fields
        if number == _OBJECT_GRAPH
        for field, each in _fields(_bytes(value))
        if field == _OBJECT
    ]
    children = [_bytes(value) for number, value in _fields(objects[0]) if number == _CHILD] if objects else []
    return SavedModel(
        attributes=frozenset(_text(_first(child, _CHILD_NAME)) for child in children),
        assets=tuple(assets),
        shapes=dict(
            _variable(_bytes(value)) for each in objects for number, value in _fields(each) if number == _VARIABLE
        ),
    )


def _variable(variable: memoryview) -> tuple[str, tuple[int, ...]]:
    dimensions = [_bytes(value) for number, value in _fields(_first(variable, _SHAPE)) if number == _DIMENSION]
    sizes = [value for each in dimensions for number, value in _fields(each) if number == _SIZE]
    return _text(_first(variable, _NAME)), tuple(value for value in sizes if isinstance(value, int))


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field of a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        value: Value
        if kind == _VARINT:
            value, at = _varint(message, at)
        else:
            size, at = _varint(message, at) if kind == _BYTES else (_FIXED_BYTES.get(kind, -1), at)
            value, at = message[at : at + size], at + size
            if size < 0 or at > len(message):
                raise ValueError("a field is cut off, or of an unknown kind")
        yield key >> 3, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at a byte, and the place behind it."""
    number = shift = 0
    while at < len(message) and shift < 64:  # noqa: PLR2004, bits of the largest number
        number |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:  # noqa: PLR2004, the bit that says that more follows
            return number, at
    raise ValueError("a number is cut off")


def _first(message: memoryview, number: int) -> memoryview:
    return next((_bytes(value) for each, value in _fields(message) if each == number), memoryview(b""))


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value


def _text(value: memoryview) -> str:
    return bytes(value).decode()
