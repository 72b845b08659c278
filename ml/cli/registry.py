"""The commands about the registry: `rollback` and `registry check`."""

import argparse
import logging
from pathlib import Path
from typing import Any

from ml.cli.arguments import add_run_identity
from ml.cli.surroundings import current_registry, run_of
from ml.errors import RegistryDamaged
from ml.records import to_json
from ml.registry import CHAMPION_ALIAS
from ml.steps import run_rollback
from ml.store.files import write_whole

logger = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add both."""
    _add_rollback(commands.add_parser("rollback", help="point the champion's alias back at an earlier version"))
    _add_registry(commands.add_parser("registry", help="see whether the registry is whole"))


def _add_rollback(command: argparse.ArgumentParser) -> None:
    command.add_argument("--to", metavar="VERSION", help="a former champion; default: the predecessor")
    command.add_argument("--reason", default="no reason was given", metavar="TEXT", help="stands in the history")
    command.add_argument("--output", type=Path, metavar="RECORD.json", help="where the record goes as well")
    command.add_argument("--force", action="store_true", help="to a version, too, that was never promoted")
    add_run_identity(command)
    command.set_defaults(run=_roll_back, dry_run=False)


def _add_registry(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="list what is wrong, and prove each version's digest; status 65 if any is")
    check.set_defaults(run=_check_registry)


def _roll_back(arguments: argparse.Namespace) -> None:
    logger.info("takes: version %s, reason: %s", arguments.to or "the predecessor", arguments.reason)
    rollback = run_rollback(run_of(arguments), to=arguments.to, reason=arguments.reason)
    if arguments.output is not None:
        write_whole(arguments.output, to_json(rollback))
    print(f"ROLLBACK: {CHAMPION_ALIAS} is {rollback.target.version} (before: {rollback.previous.version})")


def _check_registry(arguments: argparse.Namespace) -> None:
    wrong = current_registry().check()
    print("\n\n".join(wrong) or "the registry is whole: history, aliases and versions agree")
    if wrong:
        raise RegistryDamaged(f"{len(wrong)} found", where="the registry", fix="mend what is listed, then check again")
