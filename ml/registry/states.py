"""What a registry in an object store remembers: numbered states, each whole, of which the highest counts.

registry/states/<number>.json    aliases, versions and history
registry/states/<number>.sha256  its digest, written after it

A state is written by creating the object of the next number, which an object store lets only one do: who comes second
reads anew. States and digests vouch for each other: the highest state may lack its digest, if a process died between
the two writes; a digest without its state, or with another one, is damage.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

from ml.errors import LineageError, RegistryDamaged, RegistryRefused
from ml.records import RegistryState, from_json, to_json
from ml.store.shared.bucket import WHERE, Bucket

NOTHING = RegistryState(aliases={}, versions=(), dropped=(), history=())

_FOLDER, _REGISTRY = "registry/states/", "registry/"
_STATE, _DIGEST = ".json", ".sha256"
_KEPT = 100


class Numbered(NamedTuple):
    """A state and its number; 0 is the number of a registry that is new."""

    number: int
    state: RegistryState


class States:
    """The states of one registry."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._is_guarded = False

    def read(self) -> Numbered:
        """Return the state that counts; raises RegistryDamaged if it is lost or changed."""
        numbers = self._numbers()
        if not numbers and self._is_new():
            return Numbered(0, NOTHING)
        if not numbers:  # somebody has just written the first one
            numbers = self._numbers()
        last = max(numbers)
        content = self._read(last, _STATE)
        if _DIGEST in numbers[last] and self._read(last, _DIGEST) != _sha256(content):
            _refuse(last, "it is not the state that was written")
        try:
            return Numbered(last, from_json(content.decode(), RegistryState))
        except (LineageError, UnicodeDecodeError):
            _refuse(last, "it cannot be read")

    def write(self, before: Numbered, state: RegistryState) -> bool:
        """Write the state that follows; say whether it does, or somebody else was quicker."""
        if before.number:
            self._seal(before)
            self._prove_guarded(before.number)
        after = Numbered(before.number + 1, state)
        if not self._bucket.create(_key(after.number, _STATE), _content(state)):
            return False
        self._prove_guarded(after.number)
        self._seal(after)
        if after.number > _KEPT:
            self._bucket.remove(_key(after.number - _KEPT, ending) for ending in (_STATE, _DIGEST))
        return True

    def _numbers(self) -> Mapping[int, set[str]]:
        """What there is of each state, by its number."""
        numbers: dict[int, set[str]] = {}
        for each in self._bucket.listing(_FOLDER):
            number, dot, ending = each.key.removeprefix(_FOLDER).partition(".")
            if number.isdecimal() and dot + ending in (_STATE, _DIGEST):
                numbers.setdefault(int(number), set()).add(dot + ending)
        return numbers

    def _read(self, number: int, ending: str) -> bytes:
        try:
            return self._bucket.read(_key(number, ending))
        except FileNotFoundError:
            _refuse(number, "it is lost")

    def _seal(self, numbered: Numbered) -> None:
        self._bucket.write(_key(numbered.number, _DIGEST), _sha256(_content(numbered.state)))

    def _is_new(self) -> bool:
        """Say whether there is nothing; raises RegistryDamaged if there is what is written after a first state."""
        keys = [each.key for each in self._bucket.listing(_REGISTRY)]
        if keys and not any(key.startswith(_FOLDER) for key in keys):
            _refuse(1, "there are decisions, but no state")
        return not keys

    def _prove_guarded(self, number: int) -> None:
        """Raise RegistryRefused, once in a process, for a store that lets two create the same object."""
        if not (self._is_guarded or self._bucket.is_guarded(_key(number, _STATE))):
            raise RegistryRefused(
                "this object store ignores conditional writes (If-None-Match): two hosts could both promote",
                where=WHERE,
                fix="use one that has them: Amazon S3, Google Cloud Storage, a MinIO or Ceph that is recent enough",
            )
        self._is_guarded = True


def _content(state: RegistryState) -> bytes:
    return to_json(state).encode()


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _key(number: int, ending: str) -> str:
    return f"{_FOLDER}{number:08}{ending}"


def _refuse(number: int, what: str) -> NoReturn:
    raise RegistryDamaged(
        what,
        where=f"{WHERE}, {_key(number, _STATE)}",
        fix="bring back the object's earlier version, or the prefix `registry/` as a copy of it was; then"
        " `python -m ml registry check`",
    )
