"""Command `gc`: remove what nobody needs any more, by age and by size.

What the champion, its predecessors, the replay of a decision or a run on its way needs stays, however old it is. Each
folder goes by an atomic rename: where the process dies, the next one goes on.
"""

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple, cast, get_args

from ml.config import Config
from ml.keeping.logs import drop_log, log_files, remove_empty_folders
from ml.keeping.needed import REPORTS, SECONDS_PER_DAY, UNFINISHED_DAYS, last_written, needed, report_folders
from ml.records import Cleanup, Removed
from ml.registry.alias_move import record_cut_off
from ml.run import Run
from ml.store import Kind, Measured, folder_bytes
from ml.store.files import remove_whole

LOGS = "logs"

_KINDS = ("snapshots", "splits", "models", "trainings", "comparisons", "scores", "checkpoints", "moves", "underway")
# Who has just found a folder must not lose it, nor a run that has not told of it yet.
_YOUNG_SECONDS = SECONDS_PER_DAY
_WASTE = ".part"

logger = logging.getLogger(__name__)


class _Item(NamedTuple):
    """A folder of the store or the reports, or a log file; `used` is in seconds since 1970."""

    kind: str
    name: str
    path: Path
    bytes: int
    used: float


class _Going(NamedTuple):
    """An item that goes, and why."""

    item: _Item
    why: str


def gc(config: Config, run: Run, logs: Collection[Path] = ()) -> Cleanup:
    """Remove by age and size what is not needed, below the home and of the log files in `logs`; a dry run only tells.

    Raises RegistryDamaged or LineageError, and removes nothing, if it is not sure what is needed.
    """
    with ExitStack() as held:
        if not run.dry_run:
            held.enter_context(run.store.lock("keeping", waiting="waiting for another process that cleans up"))
            held.enter_context(run.registry.turn())
            record_cut_off(run.store, run.registry)
            _finish(run)
        run.mirror.fetch_all(records_alone=True)
        stays = needed(run, config.retention.predecessors)
        items = [*_items(run), *_log_items(logs)]
        free = [item for item in items if (item.kind, item.name) not in stays]
        going = _going(config, free, time.time())
        gone = [each for each in going if _tell_and_drop(run, each)]
        if not run.dry_run:
            remove_empty_folders(logs, before=time.time() - _YOUNG_SECONDS)
    return _cleanup(items, gone, dry_run=run.dry_run)


def _going(config: Config, free: Sequence[_Item], now: float) -> Sequence[_Going]:
    """Return what is too old; then the oldest of the rest, until no more than `gc.keep_bytes` remain."""
    going: list[_Going] = []
    rest: list[_Going] = []
    for item in sorted(free, key=lambda item: item.used):
        days, limit = (now - item.used) / SECONDS_PER_DAY, _days(config, item.kind)
        too_old = _Going(item, f"unused for {days:.0f} days, more than {limit:g}")
        (going if days > limit else rest).append(too_old)
    over = sum(each.item.bytes for each in rest) - config.gc.keep_bytes
    for each in rest:
        if over > 0 and now - each.item.used > _YOUNG_SECONDS and each.item.kind != "underway":
            going.append(each._replace(why=f"the oldest beyond {config.gc.keep_bytes:,} bytes"))
            over -= each.item.bytes
    return going


def _days(config: Config, kind: str) -> float:
    days = {"checkpoints": max(1, config.train.keep_checkpoints_days), "underway": UNFINISHED_DAYS}
    return days.get(kind, config.gc.keep_days)


def _items(run: Run) -> Iterator[_Item]:
    """Yield what lies below the home, and nothing that a link leads to."""
    home = run.reports.parent.resolve()
    for kind in _KINDS:
        for name in run.store.names(cast(Kind, kind)):
            with suppress(FileNotFoundError):  # another process was quicker
                place = run.store.place(cast(Kind, kind), name)
                if _is_below(home, place):
                    yield _Item(kind, name, place, *run.store.measured(cast(Kind, kind), name))
    for folder in report_folders(run):
        if _is_below(home, folder):
            here = Measured(folder_bytes(folder), last_written(folder))
            yield _Item(REPORTS, folder.name, folder, *run.mirror.measured(folder.name, here))


def _log_items(logs: Collection[Path]) -> Iterator[_Item]:
    for folder in logs:
        for path in log_files(folder):
            with suppress(FileNotFoundError):
                status = path.lstat()
                yield _Item(LOGS, path.relative_to(folder).as_posix(), path, status.st_size, status.st_mtime)


def _is_below(home: Path, place: Path) -> bool:
    if place.resolve().is_relative_to(home) and not place.is_symlink():
        return True
    logger.warning("a link leads out of the home: %s stays", place.name[:12])
    return False


def _tell_and_drop(run: Run, going: _Going) -> bool:
    item = going.item
    if not run.dry_run and not _drop(run, item):
        return False
    what = "would go" if run.dry_run else "went"
    logger.info("%s: %s/%s, %s bytes: %s", what, item.kind, item.name, f"{item.bytes:,}", going.why)
    return True


def _drop(run: Run, item: _Item) -> bool:
    """Remove an item unless somebody has used it since it was listed."""
    if item.kind in get_args(Kind):
        return run.store.drop_unused(cast(Kind, item.kind), item.name, since=item.used)
    try:
        if item.kind == LOGS:
            return drop_log(item.path, since=item.used)
        here = Measured(item.bytes, last_written(item.path))
        if run.mirror.measured(item.name, here).used > item.used:
            return False
        run.mirror.drop(item.name)
        remove_whole(item.path, run.reports / _WASTE)
    except FileNotFoundError:  # another process was quicker
        return False
    return True


def _finish(run: Run) -> None:
    """Remove what processes that died have moved away, and what other hosts have dropped."""
    run.store.tidy(cast(Sequence[Kind], _KINDS))
    run.mirror.tidy()
    with run.store.staging():  # it sweeps
        pass
    waste = run.reports / _WASTE
    if waste.is_dir() and not waste.is_symlink():
        remove_whole(waste, waste)


def _cleanup(items: Sequence[_Item], gone: Sequence[_Going], *, dry_run: bool) -> Cleanup:
    kinds = dict.fromkeys(item.kind for item in items)
    removed = []
    for kind in kinds:
        some = [each.item for each in gone if each.item.kind == kind]
        there = [item for item in items if item.kind == kind]
        removed.append(
            Removed(
                kind=kind,
                number=len(some),
                bytes=sum(item.bytes for item in some),
                kept=len(there) - len(some),
                kept_bytes=sum(item.bytes for item in there) - sum(item.bytes for item in some),
            )
        )
    return Cleanup(dry_run=dry_run, removed=tuple(removed))
