"""The commands that run steps: one, all, or what an operator does around them."""

import argparse
import json
import logging
import signal
from typing import Any

from ml.cli.arguments import (
    OUTPUT_HELP,
    add_run_arguments,
    add_run_identity,
    add_settings_arguments,
    add_step_arguments,
    whole,
    writable,
)
from ml.cli.process import OF_A_SHELL, told_to_end
from ml.cli.surroundings import ENDED, config_of, current_tracker, read_record, run_of
from ml.config import Config
from ml.config.load import load_config, preset_of
from ml.config.redaction import public_differences
from ml.errors import Interrupted, OutOfResources, PermanentError, SincereError, TransientError
from ml.records import Record, ToldSettings, to_json
from ml.report.words.record_words import words_of
from ml.run import Run
from ml.steps import OTHER_STEPS, STEPS, promote_pending, report_if_failed, run_all, run_approval, run_join, run_step
from ml.store.files import write_whole

_APPROVE_HELP = "the question for a person about a decision; given an Answer too, the decision with it"
_JOIN_HELP = "take part in a training that the step train leads on another machine; see train.machines"

logger = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add each step, and `approve`, `score`, `join`, `run` and `ended`."""
    for name, step in STEPS.items():
        command = commands.add_parser(name, help=step.help, description=step.help)
        add_step_arguments(command)
        command.set_defaults(run=_run_one_step, step=name)
        if name == "promote":
            _add_pending(command)
    _add_approve(commands.add_parser("approve", help=_APPROVE_HELP, description=_APPROVE_HELP))
    _add_score(commands.add_parser("score", help=OTHER_STEPS["score"].help, description=OTHER_STEPS["score"].help))
    _add_join(commands.add_parser("join", help=_JOIN_HELP, description=_JOIN_HELP))
    _add_run(commands.add_parser("run", help="run all steps in one process, without Airflow"))
    _add_ended(commands.add_parser(ENDED, help="write the verdict of a run whose step was killed or refused"))


def _add_pending(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--pending", action="store_true", help="carry out all promotions that wait because the registry did not answer"
    )
    command.set_defaults(run=_promote)


def _add_approve(command: argparse.ArgumentParser) -> None:
    add_step_arguments(command)
    command.set_defaults(run=_approve)


def _add_score(command: argparse.ArgumentParser) -> None:
    add_settings_arguments(command)
    command.add_argument("--source", metavar="URI", help="the questions: short for --set source.uri=URI")
    command.add_argument("--to", metavar="URI", help="where the scored rows go: short for --set score.output=URI")
    command.add_argument("--dry-run", action="store_true", help="score and watch; write no scored rows")
    add_run_identity(command)
    command.add_argument("--output", type=writable, metavar="RECORD.json", help=OUTPUT_HELP)
    command.set_defaults(run=_score, step="score", input=[], force=False, no_sample=False)


def _add_join(command: argparse.ArgumentParser) -> None:
    add_step_arguments(command)
    command.add_argument(
        "--worker", type=whole(999), default=1, metavar="N", help="this machine's number, from 1 on; default: 1"
    )
    command.set_defaults(run=_join)


def _add_run(command: argparse.ArgumentParser) -> None:
    add_run_arguments(command)
    command.set_defaults(run=_run_all_steps)


def _add_ended(command: argparse.ArgumentParser) -> None:
    command.add_argument("step", choices=[*STEPS, *OTHER_STEPS, "approve", "rollback", "gc"])
    command.add_argument("--status", type=int, required=True, help="75: it may be tried again; negative: a signal")
    for name in ("what", "where", "fix"):
        command.add_argument(f"--{name}", required=True, metavar="TEXT")
    add_run_identity(command)
    command.set_defaults(run=_report_end, dry_run=False, force=False)


def _run_one_step(arguments: argparse.Namespace) -> None:
    run = run_of(arguments)
    with report_if_failed(run, arguments.step):
        config, records = config_of(arguments), [read_record(path) for path in arguments.input]
        told = _told(arguments, config, run)
        run.keep_for_page(told)
        _tell_taken(told, *records)
    _hand_on(arguments, run_step(arguments.step, config, run, records, current_tracker()))


def _approve(arguments: argparse.Namespace) -> None:
    run = run_of(arguments)
    with report_if_failed(run, "approve"):
        config, records = config_of(arguments), [read_record(path) for path in arguments.input]
        _tell_taken(*records)
    _hand_on(arguments, run_approval(config, run, records, current_tracker()))


def _join(arguments: argparse.Namespace) -> None:
    records = [read_record(path) for path in arguments.input]
    _tell_taken(*records)
    _hand_on(arguments, run_join(config_of(arguments), run_of(arguments), records, number=arguments.worker))


def _score(arguments: argparse.Namespace) -> None:
    if arguments.to is not None:
        arguments.set.append(f"score.output={json.dumps(arguments.to)}")
    _run_one_step(arguments)


def _promote(arguments: argparse.Namespace) -> None:
    if not arguments.pending:
        _run_one_step(arguments)
        return
    from ml.report.words.verdict import read_verdict

    run = run_of(arguments)
    none_was = True
    for run_id in promote_pending(run, current_tracker()):
        print(read_verdict(run.reports / run_id), end="\n\n")
        none_was = False
    if none_was:
        print("no promotion is pending")


def _run_all_steps(arguments: argparse.Namespace) -> None:
    from ml.report.words.verdict import read_verdict

    run = run_of(arguments)
    with report_if_failed(run, "snapshot"):
        config = config_of(arguments)
        told = _told(arguments, config, run)
        logger.info("takes: %s", words_of(told))
    try:
        with told_to_end():
            run_all(config, run, current_tracker(), for_page=(told,))
    except (SincereError, KeyboardInterrupt):
        logging.getLogger("ml").info("the same command with --run-id %s goes on from here", run.run_id)
        raise
    print(read_verdict(run.report_folder))


def _report_end(arguments: argparse.Namespace) -> None:
    from ml.report.after_step import report_end

    error = _kind_of_end(arguments.status)(arguments.what, where=arguments.where, fix=arguments.fix)
    report_end(run_of(arguments), arguments.step, error)


def _kind_of_end(status: int) -> type[SincereError]:
    """Return the kind of error that ended a step; minus a signal, or as a shell says it, is a status too."""
    if status in (-signal.SIGTERM, OF_A_SHELL + signal.SIGTERM):
        return Interrupted
    if status == TransientError.exit_status or not 0 <= status <= OF_A_SHELL:
        return OutOfResources
    return PermanentError


def _tell_taken(*records: Record | ToldSettings) -> None:
    for taken in records:
        logger.info("takes: %s", words_of(taken))


def _hand_on(arguments: argparse.Namespace, result: Record) -> None:
    if arguments.output is None:
        print(to_json(result))
    else:
        write_whole(arguments.output, to_json(result))


def _told(arguments: argparse.Namespace, config: Config, run: Run) -> ToldSettings:
    """Return what the run was told."""
    preset = preset_of(arguments.config)
    return ToldSettings(
        preset=preset,
        different=public_differences(config, load_config(preset)),
        triggered_by=run.triggered_by,
        dry_run=run.dry_run,
        force=run.force,
    )
