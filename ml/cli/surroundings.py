"""What a command works with: the environment decides home, store, registry and tracking, the arguments the run.

The environment is read here, and handed on as arguments.
"""

import argparse
import json
import logging
import os
import re
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from ml.config import Config
from ml.config.environment import home_of, registry_of
from ml.config.load import load_config
from ml.config.source_address import scheme_of
from ml.errors import ConfigError, DataError, PlaceError, SincereError, raise_if_passing
from ml.records import Notice, Record, read_any
from ml.registry import Registry
from ml.registry.open import open_registry
from ml.registry.read_only import ReadOnlyRegistry
from ml.report.words.notices import to_lines
from ml.run import Run, Teller, untold
from ml.steps import OTHER_STEPS, STEPS, report_if_failed
from ml.store import Store
from ml.store.files import write_whole
from ml.store.mirror import Mirror, open_mirror
from ml.store.open import open_store
from ml.tracking import Tracker, open_tracker

ENDED = "ended"
_LONGEST_RUN_ID = 200
_PARTS_OF_A_RUN = {*STEPS, *OTHER_STEPS, "run", "approve", "rollback", "gc"}


def current_home() -> Path:
    """Return this process' home; raises PlaceError if it cannot be known."""
    return home_of(os.environ, Path.cwd())


def home_or_here() -> Path:
    """For messages, of a home that cannot be known too."""
    try:
        return current_home()
    except SincereError:
        return Path.cwd()


def current_registry() -> Registry:
    """Open the registry."""
    return open_registry(registry_of(os.environ, current_home()), current_store())


def current_store() -> Store:
    """Open the store."""
    return open_store(os.environ, current_home())


def current_mirror() -> Mirror:
    """Open what keeps reports in the object store, if there is one."""
    return open_mirror(os.environ, current_home())


def current_tracker() -> Tracker:
    """Open what W&B is told by."""
    return open_tracker(os.environ, current_home())


def config_of(arguments: argparse.Namespace) -> Config:
    """Load the settings that a command was given; raises ConfigError if one is wrong, or nobody named a source."""
    zone = os.environ.get("SINCERE_TIMEZONE")
    overrides = [*([f"policy.timezone={json.dumps(zone)}"] if zone else []), *arguments.set]
    if arguments.source is not None:
        overrides.append(f"source.uri={json.dumps(arguments.source)}")
    config = load_config(arguments.config, overrides)
    if arguments.no_sample and scheme_of(config.source.uri) == "sample":
        raise ConfigError(
            "nobody is there to ask for the generated sample, and no source is set",
            where="the schedule",
            fix="set SINCERE_SOURCE for all of Airflow, or its Variable sincere_source (another model's DAG says what "
            "they are called there), or source.uri in the config",
        )
    return config


def run_of(arguments: argparse.Namespace) -> Run:
    """Open the run that a command is a part of, with its reports so far; raises ConfigError for a name of no folder."""
    home = current_home()
    run_id = arguments.run_id
    if len(run_id) > _LONGEST_RUN_ID or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", run_id):
        raise ConfigError(
            f"{run_id[:60]!r} cannot name a folder",
            where="--run-id",
            fix=f"use letters, digits, dots, dashes, underscores, {_LONGEST_RUN_ID} at most",
        )
    store, mirror = current_store(), current_mirror()
    registry = open_registry(registry_of(os.environ, home), store)
    run = Run(
        store=store,
        registry=ReadOnlyRegistry(registry) if arguments.dry_run else registry,
        mirror=mirror,
        reports=home / "reports",
        run_id=run_id,
        triggered_by=arguments.triggered_by,
        run_url=arguments.run_url,
        dry_run=arguments.dry_run,
        force=arguments.force,
        tell=untold if arguments.notices is None else _notices_to(arguments.notices),
    )
    with _told_if_away(run, arguments.command):
        mirror.fetch(run_id)
    return run


def _told_if_away(run: Run, command: str) -> AbstractContextManager[None]:
    """What is part of a run leaves a verdict if its reports cannot be fetched; `ended` goes on without them."""
    if command == ENDED:
        return suppress(SincereError)
    return report_if_failed(run, command) if command in _PARTS_OF_A_RUN else nullcontext()


def _notices_to(path: Path) -> Teller:
    """Write all notices so far to a file; no step fails for want of it."""
    told: list[Notice] = []

    def tell(notice: Notice) -> None:
        told.append(notice)
        try:
            write_whole(path, to_lines(told))
        except OSError as error:
            logging.getLogger("ml").warning("a notice could not be written: %s", error.strerror)

    return tell


def read_record(path: Path) -> Record:
    """Read a record; raises DataError if there is none."""
    try:
        return read_any(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise_if_passing(error)
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataError(f"{path.name} cannot be read: {reason}", where="--input", fix="name a step's output") from None


def check_places(arguments: argparse.Namespace) -> None:
    """Raise ConfigError if an output file cannot be written, PlaceError without a home."""
    _check_home(current_home())
    for option in ("output", "plot", "notices"):
        path = getattr(arguments, option, None)
        if path is not None and not _can_be_written(path):
            raise ConfigError(
                "no file can be written there",
                where=f"--{option} {path.name}",
                fix="name a file in a folder that exists and that you may write to",
            )


def _can_be_written(path: Path) -> bool:
    """Tell whether a file can be written in its folder, or a device or pipe itself."""
    if path.exists() and not path.is_file():
        return not path.is_dir() and os.access(path, os.W_OK)
    try:
        return os.access(path.resolve().parent, os.W_OK | os.X_OK)
    except (OSError, RuntimeError):  # links that lead to each other
        return False


def _check_home(home: Path) -> None:
    """Raises PlaceError for a home that is a file, or that this user may not list."""
    if (home.exists() and not home.is_dir()) or (home.is_dir() and not os.access(home, os.R_OK | os.X_OK)):
        raise PlaceError(
            "the home is no folder that can be read", where="SINCERE_HOME", fix="name a folder that is yours"
        )
