"""Point the champion's alias back at a version that was judged before, after this version has loaded and scored."""

from collections.abc import Iterator, Sequence
from typing import cast, get_args

from ml.errors import ConfigError, LineageError
from ml.records import HistoryEntry, ModelVersion, NoChampion, Rollback, Verdict, digest
from ml.registry import CHAMPION_ALIAS, Registry
from ml.registry.alias_move import Move, forget_move, kept_moves, move_champion, record_cut_off
from ml.registry.history import is_last_moved, judged_again, predecessor, was_promoted
from ml.run import Run
from ml.serve.probe import probe_model


def roll_back(run: Run, *, to: str | None, reason: str) -> Rollback:
    """Serve the target in a process of its own, move the alias, and record the reason; this is idempotent in a run.

    Without `to`, the champion's predecessor. A target that no verdict has made champion needs force. Raises
    ServingError if the target does not load and score, ConfigError or LineageError if there is no such target,
    RegistryConflict if the alias moved meanwhile.
    """
    registry = run.registry
    with registry.turn():
        record_cut_off(run.store, registry)
        for entry in _recorded(registry.history(), run.run_id):
            forget_move(run.store, run.run_id)
            return _made(registry, entry)
        rollback = next(_planned(run), None) or plan_rollback(run, to, reason)
    probe_model(registry.fetch(rollback.target.version))
    with registry.turn():
        record_cut_off(run.store, registry)
        entry = _entry(run.run_id, registry.history(), rollback)
        move_champion(run.store, registry, Move(target=rollback.target, entry=entry, grounds=rollback))
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
    target = registry.find(version)
    judged = _judged(history, version)
    if not was_promoted(history, version):
        reason = _forced_reason(judged, reason, forced=run.force)
    return Rollback(target=target, previous=champion, reason=reason, triggered_by=run.triggered_by)


def _forced_reason(judged: HistoryEntry, reason: str, *, forced: bool) -> str:
    """Return the reason with the verdict that it overrides; raises ConfigError without force."""
    verdict = f"{judged.version} was never promoted, its verdict was {judged.verdict}: {judged.reason}"
    if not forced:
        raise ConfigError(
            verdict, where="--to", fix="name a former champion, or add --force if this version shall serve all the same"
        )
    return f"{reason} (forced: {verdict})"


def _predecessor(history: Sequence[HistoryEntry], champion: ModelVersion) -> str:
    """Return the version that the champion took over from."""
    if not is_last_moved(history, champion):
        raise LineageError(
            f"{CHAMPION_ALIAS} points at {champion.version}, but by the history it was last moved elsewhere",
            where="the registry",
            fix="name the version to roll back to with --to",
        )
    for version in predecessor(history):
        return version
    raise ConfigError(
        f"champion {champion.version} took over from none", where="the registry's history", fix="retrain instead"
    )


def _judged(history: Sequence[HistoryEntry], version: str) -> HistoryEntry:
    """Return the last verdict on the version; a rollback is none."""
    judged = [entry for entry in history if entry.version == version and entry.verdict in get_args(Verdict)]
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


def _recorded(history: Sequence[HistoryEntry], run_id: str) -> Sequence[HistoryEntry]:
    return [entry for entry in history if (entry.run_id, entry.verdict) == (run_id, "rollback")]


def _made(registry: Registry, entry: HistoryEntry) -> Rollback:
    """Return the rollback that the entry records."""
    return Rollback(
        target=registry.find(entry.version),
        previous=cast(ModelVersion, entry.previous),
        reason=entry.reason,
        triggered_by=entry.triggered_by,
    )


def _entry(run_id: str, history: Sequence[HistoryEntry], rollback: Rollback) -> HistoryEntry:
    """Make the history entry; its figures are those of the target's last entry."""
    return judged_again(
        _judged(history, rollback.target.version),
        run_id,
        verdict="rollback",
        reason=rollback.reason,
        previous=rollback.previous,
        decision=digest(rollback),
        triggered_by=rollback.triggered_by,
    )
