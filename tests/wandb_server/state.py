"""What a W&B server keeps: runs with their history and files, artifacts in collections, aliases, links, bytes."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

ENTITY = "acme"
ORGANIZATION = "acme-org"
ORGANIZATION_ENTITY = "acme-org-entity"
_STORAGE_POLICY = "wandb-storage-policy-v1"


class Refused(Exception):
    """The request is understood and not carried out; its text goes to the client."""


class Place(NamedTuple):
    """Where a run or a collection is."""

    entity: str
    project: str
    name: str


@dataclass
class Run:
    """One run; `streams` has the lines of its history, summary and log by file name, `files` what was uploaded."""

    place: Place
    number: int
    display_name: str = ""
    group: str = ""
    job_type: str = ""
    notes: str = ""
    host: str = ""
    program: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, dict[int, str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    exit_code: int | None = None

    @property
    def id(self) -> str:
        return encoded("Run", "v1", self.place.name, self.place.project, self.place.entity)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The logged rows, oldest first."""
        lines = self.streams.get("wandb-history.jsonl", {})
        return [json.loads(lines[number]) for number in sorted(lines)]

    @property
    def summary(self) -> dict[str, Any]:
        lines = self.streams.get("wandb-summary.json", {})
        return json.loads(lines[max(lines)]) if lines else {}

    @property
    def settings(self) -> dict[str, Any]:
        """The config's values, without what the client keeps for itself."""
        return {key: value["value"] for key, value in self.config.items() if key != "_wandb"}


@dataclass
class Artifact:
    """One version; `files` maps a path to the MD5, in hex, of its bytes; references have none."""

    id: str
    place: Place
    type: str
    digest: str
    run: str
    metadata: str
    description: str
    aliases: list[str]
    state: str = "PENDING"
    ttl_seconds: int = -1
    manifest: bytes = b""
    files: dict[str, str] = field(default_factory=dict)
    size: int = 0

    @property
    def facts(self) -> dict[str, Any]:
        """The metadata, read."""
        return json.loads(self.metadata or "{}")


@dataclass
class Collection:
    """Versions by number, and aliases; a portfolio holds links to versions of other collections."""

    place: Place
    type: str
    portfolio: bool = False
    versions: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)


class State:
    """All of it. What changes it holds `lock`; `moves` lists (place, alias, version) as aliases were put somewhere."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lock = threading.RLock()
        self.runs: dict[Place, Run] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.collections: dict[Place, Collection] = {}
        self.blobs: dict[str, bytes] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self.moves: list[tuple[Place, str, str]] = []
        self.protected: set[tuple[str, str]] = set()  # (project, alias)
        self.clients: dict[str, str] = {}  # the client's own id of an artifact -> ours

    def run(self, name: str, project: str = "quora") -> Run:
        return self.runs[Place(ENTITY, project, name)]

    def collection(self, name: str, project: str = "quora", entity: str = ENTITY) -> Collection:
        return self.collections[Place(entity, project, name)]

    def version(self, name: str, version: str, project: str = "quora", entity: str = ENTITY) -> Artifact:
        """By number or alias."""
        found = self.find(Place(entity, project, name), version)
        assert found is not None, f"there is no {name}:{version}"
        return found

    def content(self, artifact: Artifact, path: str) -> bytes:
        return self.blobs[artifact.files[path]]

    def has_project(self, entity: str, project: str) -> bool:
        return any(place[:2] == (entity, project) for place in (*self.runs, *self.collections))

    def find(self, place: Place, version: str) -> Artifact | None:
        collection = self.collections.get(place)
        if collection is None:
            return None
        if version in collection.aliases:
            return self.artifacts[collection.aliases[version]]
        return next((a for a in self.listed(collection) if version == f"v{collection.versions.index(a.id)}"), None)

    def listed(self, collection: Collection) -> list[Artifact]:
        """The versions that can be had, by number."""
        artifacts = [self.artifacts[id_] for id_ in collection.versions]
        return [artifact for artifact in artifacts if artifact.state == "COMMITTED"]

    def put(self, name: str, files: dict[str, bytes], *, type_: str = "model", aliases: Iterable[str] = (), **metadata):
        """A version as somebody else would have uploaded it."""
        contents = {}
        for path, content in files.items():
            md5 = hashlib.md5(content, usedforsecurity=False)
            self.blobs[md5.hexdigest()] = content
            contents[path] = {"digest": base64.b64encode(md5.digest()).decode(), "size": len(content)}
        artifact = Artifact(
            id=encoded("Artifact", len(self.artifacts) + 1),
            place=Place(ENTITY, "quora", name),
            type=type_,
            digest=hashlib.md5(json.dumps(contents).encode(), usedforsecurity=False).hexdigest(),
            run="",
            metadata=json.dumps(metadata),
            description="",
            aliases=list(aliases),
            manifest=json.dumps({"version": 1, "storagePolicy": _STORAGE_POLICY, "contents": contents}).encode(),
        )
        self.artifacts[artifact.id] = artifact
        self.commit(artifact)
        return artifact

    def create(self, artifact: Artifact, *, deduplicate: bool) -> Artifact:
        """A new version to be uploaded, or the one of the same digest."""
        same = [old for old in self._versions_at(artifact.place) if old.digest == artifact.digest]
        if deduplicate and same:
            for alias in artifact.aliases:
                self.move(artifact.place, alias, same[-1])
            return same[-1]
        self.artifacts[artifact.id] = artifact
        return artifact

    def commit(self, artifact: Artifact) -> None:
        """Make it a version, if all its files are there."""
        entries = json.loads(artifact.manifest)["contents"]
        own = {path: entry for path, entry in entries.items() if "ref" not in entry}
        artifact.files = {path: base64.b64decode(entry["digest"]).hex() for path, entry in own.items()}
        missing = [path for path, md5 in artifact.files.items() if md5 not in self.blobs]
        if missing:
            raise Refused(f"files are missing: {', '.join(missing)}")
        artifact.size = sum(entry.get("size", 0) for entry in entries.values())
        artifact.state = "COMMITTED"
        collection = self.collections.setdefault(artifact.place, Collection(artifact.place, artifact.type))
        collection.versions.append(artifact.id)
        for alias in artifact.aliases:
            self.move(artifact.place, alias, artifact)

    def move(self, place: Place, alias: str, artifact: Artifact) -> None:
        """Put an alias on a version, wherever it was."""
        if (place.project, alias) in self.protected:
            raise Refused(f"permission denied: the alias {alias} is protected")
        collection = self.collections[place]
        collection.aliases[alias] = artifact.id
        self.moves.append((place, alias, f"v{collection.versions.index(artifact.id)}"))

    def remove(self, place: Place, alias: str, artifact: Artifact) -> None:
        """Take an alias off a version, if it is there."""
        if (place.project, alias) in self.protected:
            raise Refused(f"permission denied: the alias {alias} is protected")
        aliases = self.collections[place].aliases
        if aliases.get(alias) == artifact.id:
            del aliases[alias]

    def link(self, artifact: Artifact, place: Place, aliases: list[str]) -> Collection:
        """Put a version into a portfolio, once, with its aliases."""
        portfolio = self.collections.setdefault(place, Collection(place, artifact.type, portfolio=True))
        if artifact.id not in portfolio.versions:
            portfolio.versions.append(artifact.id)
        for alias in ("latest", *aliases):
            self.move(place, alias, artifact)
        return portfolio

    def keep_blob(self, md5: str, content: bytes) -> None:
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise Refused("the bytes are not of the announced MD5")
        self.blobs[md5] = content

    def stream(self, place: Place, message: dict[str, Any]) -> None:
        """Take in numbered lines of a run's files, and its end."""
        run = self.runs[place]
        for name, chunk in message.get("files", {}).items():
            lines = run.streams.setdefault(name, {})
            lines.update(enumerate(chunk["content"], start=chunk["offset"]))
        if message.get("complete"):
            run.exit_code = message.get("exitcode", 0)

    def _versions_at(self, place: Place) -> list[Artifact]:
        collection = self.collections.get(place)
        return self.listed(collection) if collection else []


def encoded(*parts: object) -> str:
    """An id in the style of the real server's."""
    return base64.b64encode(":".join(map(str, parts)).encode()).decode()
