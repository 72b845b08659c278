"""Point the champion's alias back at a version that was judged before, after this version has loaded and scored."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ml.champion.move import Move, kept_moves, move_champion, record_cut_off
from ml.errors import ConfigError, LineageError
from ml.records import Champion, ChampionUnmeasured, HistoryEntry, ModelVersion, NoChampion, NoGains, Rollback, digest
from ml.registry import CHAMPION_ALIAS
from ml.registry.history import is_last_moved
from ml.run import Run
from ml.serve.probe import probe_model
from ml.store.files import tree_digest


def roll_back(run: Run, *, to: str | None, reason: str) -> Rollback:
    """Serve the target in a process of its own, move the alias, and record the reason; this is idempotent in a run.

    Without `to`, the target is the champion's predecessor. Raises ServingError if the target does not load and score,
    ConfigError or LineageError if there is no such target, RegistryConflict if someone else has moved the alias.
    """
    registry = run.registry
    record_cut_off(run)
    rollback = next(_planned(run), None) or plan_rollback(run, to, reason)
    if _recorded(registry.history(), run.run_id, rollback):
        return rollback
    probe_model(registry.fetch(rollback.target.version))
    entry = _entry(run.run_id, registry.history(), rollback)
    move_champion(run, Move(target=rollback.target, entry=entry, grounds=rollback))
    return rollback


def plan_rollback(run: Run, to: str | None, reason: str) -> Rollback:
    """Plan a rollback without doing it; raises ConfigError or LineageError if there is no version to roll back to."""
    registry, history = run.registry, run.registry.history()
    champion = registry.resolve(CHAMPION_ALIAS)
    if isinstance(champion, NoChampion):
        raise ConfigError("there is no champion to roll back from", where="the registry", fix="run `make retrain`")
    version = to or _predecessor(history, champion)
    if version == champion.version and is_last_moved(history, champion):
        raise ConfigError(f"{version} is the champion already", where="--to", fix="name an earlier version")
    target = ModelVersion(version=version, model=tree_digest(registry.fetch(version)))
    _judged(history, version)
    return Rollback(target=target, previous=champion, reason=reason, triggered_by=run.triggered_by)


def _predecessor(history: Sequence[HistoryEntry], champion: ModelVersion) -> str:
    """Return the version that the champion replaced when it was promoted."""
    if not is_last_moved(history, champion):
        raise LineageError(
            f"{CHAMPION_ALIAS} points at {champion.version}, but by the history it was last moved elsewhere",
            where="the registry",
            fix="name the version to roll back to with --to",
        )
    promotions = [entry for entry in history if entry.verdict == "promote" and entry.version == champion.version]
    previous: Champion = promotions[-1].previous if promotions else NoChampion()
    if isinstance(previous, NoChampion):
        raise ConfigError(
            f"champion {champion.version} took over from none", where="the registry's history", fix="retrain instead"
        )
    return previous.version


def _judged(history: Sequence[HistoryEntry], version: str) -> HistoryEntry:
    judged = [entry for entry in history if entry.version == version]
    if not judged:
        raise LineageError(
            f"no verdict on {version} is recorded",
            where="the registry's history",
            fix="name one that `python -m ml history` lists",
        )
    return judged[-1]


def _planned(run: Run) -> Iterator[Rollback]:
    """Yield the rollback that this run stored before a crash; the alias may already point at its target."""
    return (move.grounds for move in kept_moves(run.store, run.run_id) if isinstance(move.grounds, Rollback))


def _recorded(history: Sequence[HistoryEntry], run_id: str, rollback: Rollback) -> bool:
    return any((entry.run_id, entry.decision) == (run_id, digest(rollback)) for entry in history)


def _entry(run_id: str, history: Sequence[HistoryEntry], rollback: Rollback) -> HistoryEntry:
    """Make the history entry; its figures are those of the target's last entry."""
    return replace(
        _judged(history, rollback.target.version),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        run_id=run_id,
        promoted=True,
        verdict="rollback",
        reason=rollback.reason,
        previous=rollback.previous,
        decision=digest(rollback),
        triggered_by=rollback.triggered_by,
        watch=ChampionUnmeasured(),
        gains=NoGains(),
    )
