"""The commands about what a home keeps: `gc`, `erase`, `backup`, `restore` and `share`."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml.cli.arguments import add_run_identity, add_settings_arguments, readable, writable
from ml.cli.surroundings import config_of, current_home, run_of
from ml.records import to_json
from ml.report.words.record_words import words_of
from ml.steps import report_if_failed
from ml.store.files import write_whole

_LOGS_HELP = "Airflow's logs, repeatable; default: those of its environment, else of airflow/ in the home"


def add_commands(commands: Any) -> None:
    """Add all of them."""
    _add_gc(commands.add_parser("gc", help="remove by age and size what no champion, decision or run needs"))
    _add_erase(commands.add_parser("erase", help="erase questions, by their ids, wherever this home keeps them"))
    _add_backup(commands.add_parser("backup", help="write registry, store and reports into one file"), _back_up)
    _add_backup(commands.add_parser("restore", help="bring a backup back into an empty home"), _restore)
    _add_share(commands.add_parser("share", help="bring this home's state into the object store of SINCERE_STORE"))


def _add_gc(command: argparse.ArgumentParser) -> None:
    add_settings_arguments(command)
    command.add_argument("--dry-run", action="store_true", help="say what would go, why, and how many bytes")
    command.add_argument("--logs", type=Path, action="append", metavar="FOLDER", help=_LOGS_HELP)
    command.add_argument("--output", type=writable, metavar="RECORD.json", help="where the record goes as well")
    add_run_identity(command)
    command.set_defaults(run=_collect, source=None, no_sample=False, force=False)


def _add_erase(command: argparse.ArgumentParser) -> None:
    command.add_argument("--ids", type=readable, required=True, metavar="FILE", help="one id a line; - for stdin")
    command.add_argument("--same-text", action="store_true", help="erase all rows that bear the same text, too")
    add_run_identity(command)
    command.set_defaults(run=_erase, dry_run=False, force=False)


def _add_backup(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> None:
    command.add_argument("file", type=Path, metavar="FILE.tar")
    add_run_identity(command)
    command.set_defaults(run=run, dry_run=False, force=False)


def _add_share(command: argparse.ArgumentParser) -> None:
    add_run_identity(command)
    command.set_defaults(run=_share, dry_run=False, force=False)


def _collect(arguments: argparse.Namespace) -> None:
    from ml.keeping.gc import gc
    from ml.keeping.logs import log_folders

    run = run_of(arguments)
    with report_if_failed(run, "gc"):
        logs = arguments.logs or log_folders(os.environ, current_home())
        cleanup = gc(config_of(arguments), run, logs)
    if arguments.output is not None:
        write_whole(arguments.output, to_json(cleanup))
    print(words_of(cleanup))


def _erase(arguments: argparse.Namespace) -> None:
    from ml.keeping.erase import erase, read_ids
    from ml.keeping.erased_text import erased_text

    ids = read_ids(arguments.ids)
    run = run_of(arguments)
    print(erased_text(erase(run, ids, same_text=arguments.same_text), shared=run.store.is_shared))


def _back_up(arguments: argparse.Namespace) -> None:
    from ml.keeping.backup import back_up

    made = back_up(run_of(arguments), arguments.file)
    registry = "" if made.with_registry else "; the registry is elsewhere, and not in it"
    print(f"{made.files:,} files, {made.bytes:,} bytes, each with its sha256{registry}")


def _restore(arguments: argparse.Namespace) -> None:
    from ml.keeping.backup import restore

    made = restore(run_of(arguments), arguments.file)
    print(f"{made.files:,} files, {made.bytes:,} bytes, all as they were; next: python -m ml registry check")


def _share(arguments: argparse.Namespace) -> None:
    from ml.keeping.share import share

    shared = share(run_of(arguments))
    what = f"{shared.folders:,} folders, {shared.versions:,} versions, {shared.entries:,} entries of the history"
    print(f"{what} are there; next: python -m ml registry check, and SINCERE_STORE for all hosts")
