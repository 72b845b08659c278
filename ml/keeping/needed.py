"""Which stored folders must stay: for the champion and its predecessors, for replays, and for runs on their way."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ml.champion.pending_promotions import pending_models
from ml.errors import LineageError, RegistryDamaged
from ml.records import (
    Comparison,
    Decision,
    HistoryEntry,
    ModelDescription,
    ModelVersion,
    NoChampion,
    RawSnapshot,
    RunOutcome,
    Splits,
    TrainedModel,
    digest,
    from_json,
    read_any,
)
from ml.registry import CANDIDATE_ALIAS, CHAMPION_ALIAS
from ml.registry.history import former_champions, refuse_unrecorded_move
from ml.run import Run
from ml.store import Store

SECONDS_PER_DAY = 86_400
# A person may take 30 days to answer (policy.approval_hours).
UNFINISHED_DAYS = 31
REPORTS = "reports"

_UNENDED = {"decided", "failed", "pending", "rejected"}  # such a run may be taken up again

# Kind and name of a folder: a kind of the store, or REPORTS.
Place = tuple[str, str]


def needed(run: Run, predecessors: int) -> Mapping[Place, str]:
    """Return the places that must stay, and for whom.

    Raises RegistryDamaged if history, champion and reports contradict each other, LineageError if a record cannot be
    read: then nobody knows what is needed.
    """
    history = run.registry.history()
    champion = run.registry.resolve(CHAMPION_ALIAS)
    refuse_unrecorded_move(history, champion, "the registry")
    _refuse_other_registry(run, history)
    versions = [run.registry.find(version) for version in former_champions(history, predecessors)]
    return {
        **dict.fromkeys(_of_unfinished(run), "a run that has not ended"),
        **{("models", model): "a version of the registry" for model in run.registry.kept_in_store()},
        **dict.fromkeys(_of_decisions(run.store), "the replay of a decision"),
        **dict.fromkeys(_of_promotions(run, history, versions), "the champion or a predecessor"),
        **{place: "the champion or a predecessor" for version in versions for place in _of_version(run, version)},
    }


def unfinished(run: Run) -> Sequence[Path]:
    """Return the reports of all runs that may go on: those that came to no verdict in a month, and pending ones."""
    waiting = run.store.names("pending")
    return [folder for folder in report_folders(run) if folder.name in waiting or _may_go_on(folder)]


def report_folders(run: Run) -> Sequence[Path]:
    """Return the reports of all runs; a link is none."""
    if not run.reports.is_dir():
        return []
    folders = [path for path in sorted(run.reports.iterdir()) if path.is_dir() and not path.is_symlink()]
    return [folder for folder in folders if not folder.name.startswith(".")]


def last_written(folder: Path) -> float:
    """Return when anything below a folder was written last, in seconds since 1970."""
    times = [folder.lstat().st_mtime]
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a file that is replaced now
            times.append(path.lstat().st_mtime)
    return max(times)


def _may_go_on(folder: Path) -> bool:
    if time.time() - last_written(folder) > UNFINISHED_DAYS * SECONDS_PER_DAY:
        return False
    return not any(outcome.outcome not in _UNENDED for outcome in _outcome(folder))


def _outcome(folder: Path) -> Iterator[RunOutcome]:
    with suppress(FileNotFoundError):
        yield from_json((folder / "page" / "RunOutcome.json").read_text(encoding="utf-8"), RunOutcome)


def _refuse_other_registry(run: Run, history: Sequence[HistoryEntry]) -> None:
    """Raise RegistryDamaged if the reports know an entry that the history lacks."""
    known = {entry.decision for entry in history}
    for path in run.reports.glob("*/history/*.json"):
        if path.stem not in known:
            raise RegistryDamaged(
                f"the history lacks an entry of run {path.parents[1].name}, which the run's reports have",
                where="the registry",
                fix="see that SINCERE_REGISTRY names this home's registry, and put its history back; if the home has"
                " another registry for good, remove the reports of the runs before that",
            )


def _of_decisions(store: Store) -> Iterator[Place]:
    for name in store.names("decisions"):
        yield "decisions", name
        text = (store.open("decisions", name) / "decision.json").read_text(encoding="utf-8")
        decision = from_json(text, Decision)
        yield "comparisons", decision.comparison
        if store.contains("comparisons", decision.comparison):
            text = (store.open("comparisons", decision.comparison) / "comparison.json").read_text(encoding="utf-8")
            yield "splits", from_json(text, Comparison).candidate.test


def _of_version(run: Run, version: ModelVersion) -> Iterator[Place]:
    """Yield its files, its CSV, with which the next one is compared, and the rows that it was fitted to."""
    yield from [("models", version.model), ("trainings", version.model)]
    champion = run.registry.resolve(CHAMPION_ALIAS)
    try:
        text = (run.registry.fetch(version.version) / "model.json").read_text(encoding="utf-8")
    except LineageError:
        if version == champion:
            raise
        return  # retention has dropped it: nobody can go back to it
    description = from_json(text, ModelDescription)
    yield "snapshots", description.snapshot
    yield from (("splits", part) for part in description.fitted_to)


def _of_promotions(run: Run, history: Sequence[HistoryEntry], versions: Sequence[ModelVersion]) -> Iterator[Place]:
    """Yield the reports of the runs that made these versions, and the files of the version with the other alias."""
    kept = {version.version for version in versions}
    yield from ((REPORTS, entry.run_id) for entry in history if entry.version in kept and entry.promoted)
    candidate = run.registry.resolve(CANDIDATE_ALIAS)
    if not isinstance(candidate, NoChampion):
        yield from [("models", candidate.model), ("trainings", candidate.model)]


def _of_unfinished(run: Run) -> Iterator[Place]:
    yield from (("models", model) for model in pending_models(run.store))
    for folder in unfinished(run):
        yield REPORTS, folder.name
        for path in sorted((folder / "page").glob("*.json")):
            if path.stem in _NAMED:
                yield from _named_in(path)
    for kind in ("underway", "moves"):
        yield from ((kind, folder.name) for folder in unfinished(run))


_NAMED = {kind.__name__ for kind in (RawSnapshot, Splits, TrainedModel, Comparison, Decision)}


def _named_in(path: Path) -> Iterator[Place]:
    """Yield what the record in a file names."""
    match read_any(path.read_text(encoding="utf-8")):
        case RawSnapshot(sha256=sha256):
            yield "snapshots", sha256
        case Splits(snapshot=snapshot, parts=parts):
            yield from [("snapshots", snapshot), *(("splits", part.digest) for part in parts)]
        case TrainedModel(model=model):
            yield from [("models", model), ("trainings", model)]
        case Comparison() as comparison:
            yield from [("comparisons", digest(comparison)), ("splits", comparison.candidate.test)]
        case Decision() as decision:
            yield "decisions", digest(decision)
