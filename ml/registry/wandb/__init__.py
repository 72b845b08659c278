"""A registry in Weights & Biases. The project of its address contains

MODEL            type `model`     a collection of the versions; the metadata `model` is the digest of a version's files
                                  `history` in a champion's metadata vouches for the entries up to then
MODEL-history    type `decision`  a version for each entry: entry.json, decision.json, and the entry in the metadata
promotion-history-MODEL           a run that shows the history to people: see history_page.py

W&B numbers a version when it is committed, whole. So if two processes add an entry at once, neither entry is lost, and
one listing gives the history. W&B has no compare-and-swap. Processes that share a store take turns by a lock. If
somebody else moves the alias, we notice it before and after our own move, but not between our last read and our write.
"""

import hashlib
import logging
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from ml.errors import LineageError, RegistryConflict, RegistryDamaged, RegistryRefused, RegistryUnavailable
from ml.records import SCHEMA, Champion, Decision, HistoryEntry, ModelVersion, NoChampion, from_json, to_json
from ml.registry import CANDIDATE_ALIAS, CHAMPION_ALIAS, Grounds, damage, refuse_other_files
from ml.registry.history import concluded, refuse_lost_champion, refuse_unrecorded_move
from ml.registry.wandb.address import Address
from ml.registry.wandb.client import Client
from ml.registry.wandb.history_page import draw_history
from ml.store import Store
from ml.store.files import tree_digest

logger = logging.getLogger(__name__)

_VERSION = re.compile(r"v(0|[1-9][0-9]*)")
_MODEL, _DECISION = "model", "decision"
_DROPPED = "dropped"
_VOUCHER = "history"
_AUTOMATIC_ALIAS = "latest"  # W&B sets it


class WandbRegistry:
    """Versions, aliases and history in W&B; downloads are kept in the store. It connects at the first request."""

    def __init__(self, address: Address, store: Store) -> None:
        self.address = address
        self._store = store
        self._client = Client(address)

    def resolve(self, alias: str) -> Champion:
        """What the alias points at.

        Absent only if W&B listed the aliases of the collection without it, and the history has no champion either.
        """
        with self._client.answering():
            champion = self._resolve(alias)
            if alias == CHAMPION_ALIAS:
                refuse_lost_champion(self._history(), champion, self.address.where)
            return champion

    def find(self, version: str) -> ModelVersion:
        """Return the version with its digest, though its files may be gone."""
        with self._client.answering():
            return self._model_version(self._version(version))

    def register(self, artifact: Path, model: str) -> ModelVersion:
        """Store an artifact as a version and point `candidate` at it; raises LineageError if its digest is not `model`.

        A version with the same digest is reused, whoever uploaded it.
        """
        refuse_other_files(artifact, model)
        with self._client.answering():
            self._refuse_lost()
            known = (each for each in self._versions() if each.metadata["model"] == model)
            number = next((each.version for each in known), "") or self._upload(artifact, model)
            with self._in_turn():
                version = self._version(number)
                self._restore(version)
                if CANDIDATE_ALIAS not in version.aliases:
                    self._point(CANDIDATE_ALIAS, version)
                return self._model_version(version)

    def fetch(self, version: str) -> Path:
        """Return the version's files in the store, downloaded once; raises LineageError if it has none."""
        with self._client.answering():
            found = self._version(version)
        if _DROPPED in found.metadata:
            raise LineageError(
                f"the files of {version} are gone: retention dropped them",
                where=self.address.where,
                fix="name a later version, or raise retention.predecessors before the next run",
            )
        model = self._model_version(found).model
        if self._store.contains("models", model) and tree_digest(self._store.open("models", model)) != model:
            self._store.drop("models", model)
        if not self._store.contains("models", model):
            self._download(found, model)
        return self._store.open("models", model)

    def move_alias(self, alias: str, version: str, *, expected: Champion) -> None:
        """Move the alias from `expected` to a version; do nothing if it points there already.

        Raises RegistryRefused, and moves the alias back, if the W&B Registry does not allow us to set it there.
        """
        with self._client.answering(), self._in_turn():
            self._refuse_lost()
            target = self._version(version)
            current = self._resolve(alias)
            if current != self._model_version(target):
                self._refuse_unexpected(alias, current, expected)
                self._point(alias, target)
                self._refuse_unexpected(alias, self._resolve(alias), self._model_version(target))
            if self.address.link:
                self._link(alias, target, before=expected)

    def record(self, entry: HistoryEntry, grounds: Grounds) -> None:
        """Append an entry with its grounds to the history, attach a decision to its model too, and update the page.

        Of entries of one run that two have added at once, the first is read.
        """
        with self._client.answering():
            history = self._history()
            refuse_lost_champion(history, self._resolve(CHAMPION_ALIAS), self.address.where)
            has_concluded = bool(concluded(history, entry))
            if not has_concluded:
                if isinstance(grounds, Decision):
                    self._attach(grounds)
                self._append(entry, grounds)
            self._vouch()
        if not has_concluded:
            self._draw()

    def history(self) -> Sequence[HistoryEntry]:
        """Return all entries, oldest first."""
        with self._client.answering():
            return self._history()

    def prune(self, keep: Collection[str]) -> Sequence[ModelVersion]:
        """Drop the files of all versions not in `keep` and without an alias; return all versions without files.

        W&B deletes them one day later (TTL). If the same model is registered before that, its version is restored.
        """
        with self._client.answering(), self._in_turn():
            self._refuse_lost()
            versions = self._versions()
            for version in versions:
                if _DROPPED not in version.metadata and not self._is_kept(version, keep):
                    self._drop(version)
            return [self._model_version(version) for version in versions if _DROPPED in version.metadata]

    def kept_in_store(self) -> Collection[str]:
        """None: the registry has files of its own."""
        return ()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the lock of those that share the store and decide on the champion."""
        with self._store.lock("champion", waiting="waiting for another process that decides who is champion"):
            yield

    def check(self) -> Sequence[str]:
        """Return what is wrong with aliases and history, and with each version; download what the store lacks."""
        with self._client.answering():
            there = [each.version for each in self._versions() if _DROPPED not in each.metadata]
        return damage([self._check_champion, *(partial(self.fetch, version) for version in there)])

    def _check_champion(self) -> None:
        champion = self.resolve(CHAMPION_ALIAS)
        refuse_unrecorded_move(self.history(), champion, self.address.where)

    def _refuse_lost(self) -> None:
        """Raise RegistryDamaged if the history has a champion and the alias none, or the history has a gap."""
        refuse_lost_champion(self._history(), self._resolve(CHAMPION_ALIAS), self.address.where)

    def _in_turn(self) -> AbstractContextManager[BinaryIO]:
        """Hold the lock for writes, which all processes with the same store share."""
        return self._store.lock("registry", waiting="waiting for another process that writes to the registry")

    def _resolve(self, alias: str) -> Champion:
        if alias not in self._client.aliases(_MODEL, self.address.model):
            return NoChampion()
        return self._model_version(self._client.artifact(self.address.model, alias))

    def _versions(self) -> list[Any]:
        versions = self._client.versions(_MODEL, self.address.model)
        return [version for version in versions if "model" in version.metadata]

    def _version(self, version: str) -> Any:
        versions = {each.version: each for each in self._versions()}
        if version not in versions:
            raise LineageError(
                f"there is no version {version}",
                where=self.address.where,
                fix="name one that `python -m ml history` lists",
            )
        return versions[version]

    def _model_version(self, version: Any) -> ModelVersion:
        if not isinstance(version.metadata.get("model"), str):
            raise RegistryDamaged(
                f"{version.version} does not say which model it is: it was not registered from here, or was edited",
                where=self.address.where,
                fix="point the alias at a version that `python -m ml history` lists",
            )
        if version.metadata.get("schema") != SCHEMA:
            raise RegistryDamaged(
                f"{version.version} is not of schema {SCHEMA}, which this version of the code reads and writes",
                where=self.address.where,
                fix="use the version of the code that wrote it, or register the model again in a new collection",
            )
        return ModelVersion(version=version.version, model=version.metadata["model"])

    def _upload(self, artifact: Path, model: str) -> str:
        """Upload an artifact; return the version's number."""
        import wandb

        draft = wandb.Artifact(self.address.model, type=_MODEL, metadata={"model": model, "schema": SCHEMA})
        draft.add_dir(str(artifact), skip_cache=True, policy="immutable")
        with self._client.run("register") as run:
            version = self._client.upload(run, draft)
        if "model" not in version.metadata:  # the same files were there already, uploaded by somebody else
            version.metadata.update(model=model, schema=SCHEMA)
            version.save()
        return str(version.version)

    def _restore(self, version: Any) -> None:
        import wandb

        if version.metadata.pop(_DROPPED, False):
            version.ttl = wandb.ArtifactTTL.INHERIT
            version.save()

    def _drop(self, version: Any) -> None:
        version.metadata[_DROPPED] = True
        version.ttl = timedelta(days=1)
        version.save()
        logger.info("retention dropped the files of %s, model %s", version.version, version.metadata["model"][:12])

    def _is_kept(self, version: Any, keep: Collection[str]) -> bool:
        kept = {version.version, version.metadata["model"]} & set(keep)
        return bool(kept) or bool(set(version.aliases) - {_AUTOMATIC_ALIAS})

    def _download(self, version: Any, model: str) -> None:
        with self._store.staging() as folder:
            with self._client.answering():
                self._client.download(version, folder)
            if tree_digest(folder) != model:
                raise RegistryDamaged(
                    f"the files of {version.version} are not those that were registered",
                    where=self.address.where,
                    fix="find out who changed the version's metadata in W&B; roll back to another version",
                )
            self._store.commit(folder, "models", model)

    def _point(self, alias: str, version: Any) -> None:
        """Add an alias to a version. W&B removes it from the other version in the same request: the move is atomic."""
        version.aliases.append(alias)
        with self._client.asking_for(f"set the alias {alias}", of=self.address.where):
            version.save()

    def _refuse_unexpected(self, alias: str, current: Champion, expected: Champion) -> None:
        if current != expected:
            raise RegistryConflict(
                f"the alias {alias} points at {_name(current)}, not at {_name(expected)} any more",
                where=self.address.where,
                fix="start a new run, which compares with the champion of now",
            )

    def _link(self, alias: str, target: Any, *, before: Champion) -> None:
        link = self.address.link
        try:
            with self._client.asking_for(f"set the protected alias {alias}", of=f"W&B Registry, {link}"):
                linked = target.link(link, aliases=[alias])
        except RegistryRefused:
            self._put_back(alias, target, before)
            raise
        if alias not in linked.aliases:
            raise RegistryUnavailable(
                f"the alias {alias} was not set", where=f"W&B Registry, {link}", fix="run this step again"
            )

    def _put_back(self, alias: str, target: Any, before: Champion) -> None:
        if self._resolve(alias) != self._model_version(target):
            return
        if isinstance(before, ModelVersion):
            self._point(alias, self._version(before.version))
        else:
            target.aliases.remove(alias)
            target.save()

    def _history(self) -> list[HistoryEntry]:
        vouchers = self._vouchers()  # before the entries: meanwhile, somebody else may add one and vouch for it
        versions = self._client.versions(_DECISION, self._history_name)
        self._refuse_gap([version.version for version in versions])
        entries: list[HistoryEntry] = []
        for entry in map(self._entry, versions):
            entries += [] if concluded(entries, entry) else [entry]
        for place, voucher in vouchers.items():
            self._refuse_loss(place, voucher, _lines(versions))
        return entries

    def _vouchers(self) -> dict[str, Any]:
        versions = self._versions()
        return {each.version: each.metadata[_VOUCHER] for each in versions if _VOUCHER in each.metadata}

    def _vouch(self) -> None:
        """Let the champion's version, or the last one, say how many entries there are, and their digest."""
        with self._in_turn():
            lines = _lines(self._client.versions(_DECISION, self._history_name))
            versions = self._versions()
            champions = [version for version in versions if CHAMPION_ALIAS in version.aliases]
            for version in (champions or versions)[-1:]:
                if version.metadata.get(_VOUCHER) != _voucher(lines):
                    version.metadata[_VOUCHER] = _voucher(lines)
                    version.save()

    def _refuse_loss(self, place: str, voucher: Any, lines: Sequence[str]) -> None:
        """Raise RegistryDamaged if the entries are not those that a version vouches for."""
        entries = voucher.get("entries") if isinstance(voucher, dict) else None
        if type(entries) is not int or voucher != _voucher(lines[:entries]):
            what = f"{len(lines)} of {entries} entries are there" if entries != len(lines) else "an entry was changed"
            raise RegistryDamaged(
                f"the history is not what version {place} vouches for: {what}",
                where=f"{self.address.where}, {self._history_name}",
                fix="have W&B restore what was deleted, or put the text of each file entry.json back under `entry`;"
                f" to go on without it, delete `{_VOUCHER}` from the metadata of {place}",
            )

    def _refuse_gap(self, versions: Sequence[str]) -> None:
        """W&B numbers the entries from 0, without a gap."""
        for number, version in enumerate(versions):
            if version != f"v{number}":
                raise RegistryDamaged(
                    f"entry v{number} of the history is lost: it was deleted in W&B",
                    where=f"{self.address.where}, {self._history_name}",
                    fix="have W&B restore it, or begin with a new model name in SINCERE_REGISTRY",
                )

    def _entry(self, version: Any) -> HistoryEntry:
        try:
            return from_json(str(version.metadata["entry"]), HistoryEntry)
        except (KeyError, LineageError):
            raise RegistryDamaged(
                f"entry {version.version} of the history cannot be read",
                where=f"{self.address.where}, {self._history_name}",
                fix="put the text of its file entry.json back into the version's metadata, under `entry`",
            ) from None

    def _attach(self, decision: Decision) -> None:
        for version in self._versions():
            if version.metadata["model"] == decision.candidate:
                version.metadata["decision"] = to_json(decision)
                version.save()

    def _append(self, entry: HistoryEntry, grounds: Grounds) -> None:
        import wandb

        draft = wandb.Artifact(self._history_name, type=_DECISION, metadata={"entry": to_json(entry)})
        for name, record in (("entry.json", entry), ("decision.json", grounds)):
            with draft.new_file(name, encoding="utf-8", policy="immutable") as file:
                file.write(to_json(record))
        with self._client.run("decision", group=entry.run_id) as run:
            self._client.upload(run, draft)

    def _draw(self) -> None:
        try:
            with self._client.answering():
                draw_history(self._client, self._history())
        except (RegistryRefused, RegistryUnavailable) as error:
            logger.warning("the history's page in W&B is not up to date: %s; the next decision renews it", error.what)

    @property
    def _history_name(self) -> str:
        return f"{self.address.model}-history"


def _lines(versions: Sequence[Any]) -> Sequence[str]:
    """Return the text of each entry, oldest first."""
    return [str(version.metadata.get("entry")) for version in versions]


def _voucher(lines: Sequence[str]) -> dict[str, Any]:
    """Return what a version says of the history: the number of its entries, and the sha256, in hex, of their texts."""
    return {"entries": len(lines), "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


def _name(champion: Champion) -> str:
    return champion.version if isinstance(champion, ModelVersion) else "nothing"
