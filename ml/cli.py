"""The command line: it runs one step or all steps, and has the commands with which people use the result.

The environment decides home, registry and tracking; it is read here, and handed on as arguments.
Results go to standard output, everything else to standard error.
"""

import argparse
import codecs
import io
import json
import logging
import os
import re
import secrets
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

from ml import __version__
from ml.config import Config
from ml.config.environment import home_of, registry_of
from ml.config.load import load_config, preset_of
from ml.config.redaction import public_differences
from ml.config.source_address import scheme_of
from ml.errors import (
    ConfigError,
    DataError,
    Interrupted,
    LineageError,
    OutOfResources,
    PermanentError,
    PlaceError,
    RegistryDamaged,
    SincereError,
    TransientError,
    foreseen,
    raise_if_passing,
)
from ml.json_log import JsonFormatter
from ml.records import Decision, NoChampion, Notice, Record, ToldSettings, digest, read_any, to_json
from ml.registry import CHAMPION_ALIAS, Registry
from ml.registry.open import open_registry
from ml.registry.read_only import ReadOnlyRegistry
from ml.registry.wandb.login import login_settings
from ml.report.words.notices import to_lines
from ml.report.words.record_words import words_of
from ml.run import Run, Teller, untold
from ml.steps import (
    OTHER_STEPS,
    STEPS,
    promote_pending,
    report_if_failed,
    run_all,
    run_approval,
    run_join,
    run_rollback,
    run_step,
)
from ml.store import Store
from ml.store.files import write_whole
from ml.store.mirror import Mirror, open_mirror
from ml.store.open import open_store
from ml.tracking import Tracker, open_tracker

_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",  # tf-models' layers and hub.KerasLayer need Keras 2
    "TF_CPP_MIN_LOG_LEVEL": "3",  # errors reach Python as exceptions; the log only reports absent GPUs
    "GX_ANALYTICS_ENABLED": "false",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
}


logger = logging.getLogger(__name__)

_PLAIN = {"✓": "+", "✗": "x", "…": "...", "·": "-"}
_LONGEST_RUN_ID = 200
_NO_RUN = "none"
_JSON = "json"
_ENDED = "ended"
_PARTS_OF_A_RUN = {*STEPS, *OTHER_STEPS, "run", "approve", "rollback", "gc"}
_OF_A_SHELL = 128  # a shell's status for a program that a signal killed is this and the signal


class _Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or the exit status of its error (see ml/errors.py)."""
    _print_anywhere()
    arguments = _parser().parse_args(argv)
    _name_run(arguments)
    _prepare_process()
    _start_log(arguments)
    try:
        return _run_command(arguments)
    except BrokenPipeError:  # who read the output has gone; nor is there anybody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OF_A_SHELL + signal.SIGPIPE
    except KeyboardInterrupt as error:
        print("interrupted", file=sys.stderr)
        return _OF_A_SHELL + (signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT)


def _run_command(arguments: argparse.Namespace) -> int:
    try:
        _check_places(arguments)
        with _sharing_reports():
            arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except Exception as error:
        ours = next(foreseen(error, _home_or_here()), None)
        if ours is None:
            raise
        _tell_error(ours, arguments)
        return ours.exit_status
    return 0


@contextmanager
def _sharing_reports() -> Iterator[None]:
    """Send at the end what was written to the reports; what ended in an error tells of that one alone."""
    mirror = _mirror()
    try:
        yield
    except BaseException:
        try:
            mirror.send()
        except SincereError as error:
            logger.warning("reports are on this machine alone: %s", error.what)
        raise
    mirror.send()


def _print_anywhere() -> None:
    """Where the output's encoding lacks a mark, a plain one is printed."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(mark, "?") for mark in error.object[error.start : error.end]), error.end


def _tell_error(error: SincereError, arguments: argparse.Namespace) -> None:
    if arguments.log_format == _JSON:
        logger.error("error: %s", error)
    else:
        print(f"error: {error}", file=sys.stderr)


def _name_run(arguments: argparse.Namespace) -> None:
    """Give a run that was not given a name the time, and a random part."""
    if getattr(arguments, "run_id", _NO_RUN) is None:
        arguments.run_id = f"{datetime.now(UTC):cli-%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def _prepare_process() -> None:
    os.environ.update(login_settings(os.environ))
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # tensorflow-hub 0.16.1


def _start_log(arguments: argparse.Namespace) -> None:
    handler = logging.StreamHandler(sys.stderr)
    if arguments.log_format == _JSON:
        run_id = str(getattr(arguments, "run_id", _NO_RUN))
        handler.setFormatter(JsonFormatter(command=arguments.command, run_id=run_id))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("ml").setLevel(logging.INFO)


def _check_places(arguments: argparse.Namespace) -> None:
    """Raise ConfigError if an output file cannot be written, PlaceError without a home."""
    _check_home(_home())
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


def _run_one_step(arguments: argparse.Namespace) -> None:
    run = _run(arguments)
    with report_if_failed(run, arguments.step):
        config, records = _config(arguments), [_read_record(path) for path in arguments.input]
        told = _told(arguments, config, run)
        run.keep_for_page(told)
        _tell_taken(told, *records)
    _hand_on(arguments, run_step(arguments.step, config, run, records, _tracker()))


def _approve(arguments: argparse.Namespace) -> None:
    run = _run(arguments)
    with report_if_failed(run, "approve"):
        config, records = _config(arguments), [_read_record(path) for path in arguments.input]
        _tell_taken(*records)
    _hand_on(arguments, run_approval(config, run, records, _tracker()))


def _join(arguments: argparse.Namespace) -> None:
    records = [_read_record(path) for path in arguments.input]
    _tell_taken(*records)
    _hand_on(arguments, run_join(_config(arguments), _run(arguments), records, number=arguments.worker))


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


def _score(arguments: argparse.Namespace) -> None:
    if arguments.to is not None:
        arguments.set.append(f"score.output={json.dumps(arguments.to)}")
    _run_one_step(arguments)


def _promote(arguments: argparse.Namespace) -> None:
    if not arguments.pending:
        _run_one_step(arguments)
        return
    from ml.report.words.verdict import read_verdict

    run = _run(arguments)
    none_was = True
    for run_id in promote_pending(run, _tracker()):
        print(read_verdict(run.reports / run_id), end="\n\n")
        none_was = False
    if none_was:
        print("no promotion is pending")


def _run_all_steps(arguments: argparse.Namespace) -> None:
    from ml.report.words.verdict import read_verdict

    run = _run(arguments)
    with report_if_failed(run, "snapshot"):
        config = _config(arguments)
        told = _told(arguments, config, run)
        logger.info("takes: %s", words_of(told))
    try:
        with _told_to_end():
            run_all(config, run, _tracker(), for_page=(told,))
    except (SincereError, KeyboardInterrupt):
        logging.getLogger("ml").info("the same command with --run-id %s goes on from here", run.run_id)
        raise
    print(read_verdict(run.report_folder))


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Let SIGTERM, which systemd and containers send, interrupt the run, so that it leaves a verdict."""

    def end(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _kind_of_end(status: int) -> type[SincereError]:
    """Return the kind of error that ended a step; minus a signal, or as a shell says it, is a status too."""
    if status in (-signal.SIGTERM, _OF_A_SHELL + signal.SIGTERM):
        return Interrupted
    if status == TransientError.exit_status or not 0 <= status <= _OF_A_SHELL:
        return OutOfResources
    return PermanentError


def _report_end(arguments: argparse.Namespace) -> None:
    from ml.report.after_step import report_end

    error = _kind_of_end(arguments.status)(arguments.what, where=arguments.where, fix=arguments.fix)
    report_end(_run(arguments), arguments.step, error)


def _show_verdict(arguments: argparse.Namespace) -> None:
    from ml.report.words.verdict import VERDICT, newest_verdict

    _mirror().fetch_newest(VERDICT)
    print(newest_verdict(_home() / "reports"))


def _show_history(arguments: argparse.Namespace) -> None:
    from ml.report.history_table import history_text

    history = _registry(_home()).history()
    if arguments.plot is not None:
        from ml.report.plots import history_plot

        write_whole(arguments.plot, history_plot(history))
    print(history_text(history))


def _replay(arguments: argparse.Namespace) -> None:
    from ml.judge.kept_decisions import policy_of
    from ml.judge.replay import replay
    from ml.report.words.replay_text import replay_text

    store, decision = _store(_home()), _read_record(arguments.decision)
    if not isinstance(decision, Decision):
        raise DataError("the record is no Decision", where=arguments.decision.name, fix="name a decision.json")
    if arguments.config is None:
        policy = policy_of(store, decision)
    else:
        policy = load_config(arguments.config, arguments.set).policy
    result = replay(store, decision, policy)
    print(replay_text(result))
    if result.same_policy and not result.reproduced:
        raise LineageError(
            "the stored scores do not give the recorded verdict",
            where=f"decision {digest(decision)[:12]}",
            fix="see whether the record was edited, or was made by another version of the policy's code",
        )


def _roll_back(arguments: argparse.Namespace) -> None:
    logger.info("takes: version %s, reason: %s", arguments.to or "the predecessor", arguments.reason)
    rollback = run_rollback(_run(arguments), to=arguments.to, reason=arguments.reason)
    if arguments.output is not None:
        write_whole(arguments.output, to_json(rollback))
    print(f"ROLLBACK: {CHAMPION_ALIAS} is {rollback.target.version} (before: {rollback.previous.version})")


def _check_registry(arguments: argparse.Namespace) -> None:
    wrong = _registry(_home()).check()
    print("\n\n".join(wrong) or "the registry is whole: history, aliases and versions agree")
    if wrong:
        raise RegistryDamaged(f"{len(wrong)} found", where="the registry", fix="mend what is listed, then check again")


def _collect(arguments: argparse.Namespace) -> None:
    from ml.keeping.gc import gc
    from ml.keeping.logs import log_folders

    run = _run(arguments)
    with report_if_failed(run, "gc"):
        logs = arguments.logs or log_folders(os.environ, _home())
        cleanup = gc(_config(arguments), run, logs)
    if arguments.output is not None:
        write_whole(arguments.output, to_json(cleanup))
    print(words_of(cleanup))


def _erase(arguments: argparse.Namespace) -> None:
    from ml.keeping.erase import erase, read_ids
    from ml.keeping.erased_text import erased_text

    ids = read_ids(arguments.ids)
    run = _run(arguments)
    print(erased_text(erase(run, ids, same_text=arguments.same_text), shared=run.store.is_shared))


def _back_up(arguments: argparse.Namespace) -> None:
    from ml.keeping.backup import back_up

    made = back_up(_run(arguments), arguments.file)
    registry = "" if made.with_registry else "; the registry is elsewhere, and not in it"
    print(f"{made.files:,} files, {made.bytes:,} bytes, each with its sha256{registry}")


def _restore(arguments: argparse.Namespace) -> None:
    from ml.keeping.backup import restore

    made = restore(_run(arguments), arguments.file)
    print(f"{made.files:,} files, {made.bytes:,} bytes, all as they were; next: python -m ml registry check")


def _share(arguments: argparse.Namespace) -> None:
    from ml.keeping.share import share

    shared = share(_run(arguments))
    what = f"{shared.folders:,} folders, {shared.versions:,} versions, {shared.entries:,} entries of the history"
    print(f"{what} are there; next: python -m ml registry check, and SINCERE_STORE for all hosts")


def _show_metrics(arguments: argparse.Namespace) -> None:
    from ml.report.open_metrics import metrics_text

    run = _run(arguments)
    run.mirror.fetch_all(records_alone=True)
    text = metrics_text(run)
    if arguments.output is None:
        print(text)
    else:
        write_whole(arguments.output, f"{text}\n")


def _predict(arguments: argparse.Namespace) -> None:
    from ml.model.predict import load_model, predict_csv

    registry = _registry(_home())
    champion = registry.resolve(arguments.alias)
    if isinstance(champion, NoChampion):
        raise ConfigError(
            f"the alias {arguments.alias!r} points at no model yet",
            where="the registry",
            fix="run `make retrain` first",
        )
    model = load_model(registry.fetch(champion.version))
    if arguments.text is not None:
        probability = float(model.score([arguments.text])[0])
        print(f"probability {probability:.4f}  label {int(probability >= model.threshold)}")
    else:
        predict_csv(model, arguments.input, arguments.output or Path("scored.csv"))


def _simulate(arguments: argparse.Namespace) -> None:
    from ml.research.simulation import Population, Simulation, outcome_plot, outcome_table, read_two_trainings

    config = load_config(arguments.config, arguments.set)
    simulation = Simulation(
        population=Population.of(*read_two_trainings(_store(_home()))),
        policy=config.policy,
        positive_rate=config.threshold.positive_rate,
    )
    weeks, years = arguments.weeks, arguments.years
    outcomes = simulation.run(
        test_rows=arguments.test_rows, gains=(0, 0.005, 0.01, 0.02, 0.04), weeks=weeks, years=years
    )
    print(outcome_table(outcomes, weeks=weeks, years=years))
    if arguments.plot is not None:
        write_whole(arguments.plot, outcome_plot(outcomes))


def _sample(arguments: argparse.Namespace) -> None:
    from ml.source.sample import write_sample

    if arguments.rows < 1 or arguments.seed < 0:
        raise ConfigError(
            "no such sample", where="--rows and --seed", fix="ask for one row or more, and no seed below 0"
        )
    write_sample(arguments.output, rows=arguments.rows, seed=arguments.seed)


def _config(arguments: argparse.Namespace) -> Config:
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


def _home() -> Path:
    return home_of(os.environ, Path.cwd())


def _home_or_here() -> Path:
    """For messages, of a home that cannot be known too."""
    try:
        return _home()
    except SincereError:
        return Path.cwd()


def _registry(home: Path) -> Registry:
    return open_registry(registry_of(os.environ, home), _store(home))


def _store(home: Path) -> Store:
    return open_store(os.environ, home)


def _mirror() -> Mirror:
    return open_mirror(os.environ, _home())


def _tracker() -> Tracker:
    return open_tracker(os.environ, _home())


def _run(arguments: argparse.Namespace) -> Run:
    home = _home()
    run_id = arguments.run_id
    if len(run_id) > _LONGEST_RUN_ID or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", run_id):
        raise ConfigError(
            f"{run_id[:60]!r} cannot name a folder",
            where="--run-id",
            fix=f"use letters, digits, dots, dashes, underscores, {_LONGEST_RUN_ID} at most",
        )
    store, mirror = _store(home), _mirror()
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
    if command == _ENDED:
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


def _read_record(path: Path) -> Record:
    try:
        return read_any(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise_if_passing(error)
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataError(f"{path.name} cannot be read: {reason}", where="--input", fix="name a step's output") from None


class _Parser(argparse.ArgumentParser):
    """A parser whose help lists all settings if its command has the option `--set`."""

    def format_help(self) -> str:
        from ml.config.settings_reference import help_lines

        told = self.get_default("set") is not None
        return super().format_help() + (f"\nsettings, with their defaults:\n{help_lines()}\n" if told else "")


def _parser() -> argparse.ArgumentParser:
    prog = "sincere" if Path(sys.argv[0]).stem == "sincere" else "python -m ml"
    parser = _Parser(prog=prog, description="Retrain, judge and promote, step by step.")
    parser.add_argument("--version", action="version", version=f"sincere {__version__}")
    told = "json" if os.environ.get("SINCERE_LOG_FORMAT") == _JSON else "text"
    parser.add_argument("--log-format", choices=("text", _JSON), default=told, help=_LOG_FORMAT_HELP)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, step in STEPS.items():
        command = commands.add_parser(name, help=step.help, description=step.help)
        _add_step_arguments(command)
        command.set_defaults(run=_run_one_step, step=name)
        if name == "promote":
            _add_pending(command)
    approve = commands.add_parser("approve", help=_APPROVE_HELP, description=_APPROVE_HELP)
    _add_step_arguments(approve)
    approve.set_defaults(run=_approve)
    _add_score(commands.add_parser("score", help=OTHER_STEPS["score"].help, description=OTHER_STEPS["score"].help))
    join = commands.add_parser("join", help=_JOIN_HELP, description=_JOIN_HELP)
    _add_step_arguments(join)
    join.add_argument(
        "--worker", type=_whole(999), default=1, metavar="N", help="this machine's number, from 1 on; default: 1"
    )
    join.set_defaults(run=_join)
    run = commands.add_parser("run", help="run all steps in one process, without Airflow")
    _add_run_arguments(run)
    run.set_defaults(run=_run_all_steps)
    _add_ended(commands.add_parser(_ENDED, help="write the verdict of a run whose step was killed or refused"))
    verdict = commands.add_parser("verdict", help="print the newest verdict, its checks and where its reports are")
    verdict.set_defaults(run=_show_verdict)
    history = commands.add_parser("history", help="print all verdicts and rollbacks as a table")
    history.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw precision and recall by version as well")
    history.set_defaults(run=_show_history)
    _add_replay(commands.add_parser("replay", help="judge again from the stored scores, by the same policy or another"))
    _add_rollback(commands.add_parser("rollback", help="point the champion's alias back at an earlier version"))
    _add_registry(commands.add_parser("registry", help="see whether the registry is whole"))
    _add_gc(commands.add_parser("gc", help="remove by age and size what no champion, decision or run needs"))
    _add_erase(commands.add_parser("erase", help="erase questions, by their ids, wherever this home keeps them"))
    _add_backup(commands.add_parser("backup", help="write registry, store and reports into one file"), _back_up)
    _add_backup(commands.add_parser("restore", help="bring a backup back into an empty home"), _restore)
    shared = commands.add_parser("share", help="bring this home's state into the object store of SINCERE_STORE")
    _add_run_identity(shared)
    shared.set_defaults(run=_share, dry_run=False, force=False)
    metrics = commands.add_parser("metrics", help="print figures for Prometheus, in the text form of OpenMetrics")
    metrics.add_argument("--output", type=_writable, metavar="FILE.prom", help="where they go instead, whole")
    _add_run_identity(metrics)
    metrics.set_defaults(run=_show_metrics, dry_run=False, force=False)
    _add_predict(commands.add_parser("predict", help="score questions with the model behind an alias"))
    _add_simulate(commands.add_parser("simulate", help="simulate on stored scores how often the gate errs"))
    _add_sample(commands.add_parser("sample", help="write a generated CSV in the shape of the real one"))
    return parser


def _whole(most: int) -> Callable[[str], int]:
    """Reads a whole number up to `most`, and repeats no long one."""

    def number(text: str) -> int:
        if not re.fullmatch("-?[0-9]{1,15}", text) or int(text) > most:
            raise argparse.ArgumentTypeError(f"not a whole number of at most {most:,}: {text[:20]}")
        return int(text)

    return number


_BY_HAND = "command line"
_FORCE_HELP = "go on even if nothing has changed, during the cool-down, or with a version that was rolled back"
_OUTPUT_HELP = "where the record goes; else printed"
_APPROVE_HELP = "the question for a person about a decision; given an Answer too, the decision with it"
_JOIN_HELP = "take part in a training that the step train leads on another machine; see train.machines"
_LOG_FORMAT_HELP = "json: each line of the log is an object with the run's id; default: SINCERE_LOG_FORMAT, else text"
_LOGS_HELP = "Airflow's logs, repeatable; default: those of its environment, else of airflow/ in the home"
_INPUT_HELP = "a record that an earlier step wrote; repeat the option for each record"


def _add_step_arguments(command: argparse.ArgumentParser) -> None:
    _add_run_arguments(command)
    command.add_argument("--input", type=Path, action="append", default=[], metavar="RECORD.json", help=_INPUT_HELP)
    command.add_argument("--output", type=_writable, metavar="RECORD.json", help=_OUTPUT_HELP)


def _add_run_arguments(command: argparse.ArgumentParser) -> None:
    _add_settings_arguments(command)
    command.add_argument("--source", metavar="URI", help="the CSV: short for --set source.uri=URI")
    command.add_argument("--no-sample", action="store_true", help="an error instead of the generated sample")
    command.add_argument("--dry-run", action="store_true", help="up to the verdict; write nothing to the registry")
    command.add_argument("--force", action="store_true", help=_FORCE_HELP)
    _add_run_identity(command)


def _add_settings_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", default="local", metavar="PRESET|FILE.toml", help="default: local")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one setting")


def _add_run_identity(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run-id", metavar="ID", help="names the run in history and reports; default: the time")
    command.add_argument("--triggered-by", default=_BY_HAND, metavar="WHO", help=f"who started it; default: {_BY_HAND}")
    command.add_argument("--run-url", default="none", metavar="URL", help="the page of the run; default: none")
    command.add_argument("--notices", type=_writable, metavar="FILE", help="where goes what people should be told")


def _add_pending(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--pending", action="store_true", help="carry out all promotions that wait because the registry did not answer"
    )
    command.set_defaults(run=_promote)


def _add_score(command: argparse.ArgumentParser) -> None:
    _add_settings_arguments(command)
    command.add_argument("--source", metavar="URI", help="the questions: short for --set source.uri=URI")
    command.add_argument("--to", metavar="URI", help="where the scored rows go: short for --set score.output=URI")
    command.add_argument("--dry-run", action="store_true", help="score and watch; write no scored rows")
    _add_run_identity(command)
    command.add_argument("--output", type=_writable, metavar="RECORD.json", help=_OUTPUT_HELP)
    command.set_defaults(run=_score, step="score", input=[], force=False, no_sample=False)


def _add_rollback(command: argparse.ArgumentParser) -> None:
    command.add_argument("--to", metavar="VERSION", help="a former champion; default: the predecessor")
    command.add_argument("--reason", default="no reason was given", metavar="TEXT", help="stands in the history")
    command.add_argument("--output", type=Path, metavar="RECORD.json", help="where the record goes as well")
    command.add_argument("--force", action="store_true", help="to a version, too, that was never promoted")
    _add_run_identity(command)
    command.set_defaults(run=_roll_back, dry_run=False)


def _add_ended(command: argparse.ArgumentParser) -> None:
    command.add_argument("step", choices=[*STEPS, *OTHER_STEPS, "approve", "rollback", "gc"])
    command.add_argument("--status", type=int, required=True, help="75: it may be tried again; negative: a signal")
    for name in ("what", "where", "fix"):
        command.add_argument(f"--{name}", required=True, metavar="TEXT")
    _add_run_identity(command)
    command.set_defaults(run=_report_end, dry_run=False, force=False)


def _add_registry(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="list what is wrong, and prove each version's digest; status 65 if any is")
    check.set_defaults(run=_check_registry)


def _add_gc(command: argparse.ArgumentParser) -> None:
    _add_settings_arguments(command)
    command.add_argument("--dry-run", action="store_true", help="say what would go, why, and how many bytes")
    command.add_argument("--logs", type=Path, action="append", metavar="FOLDER", help=_LOGS_HELP)
    command.add_argument("--output", type=_writable, metavar="RECORD.json", help="where the record goes as well")
    _add_run_identity(command)
    command.set_defaults(run=_collect, source=None, no_sample=False, force=False)


def _add_erase(command: argparse.ArgumentParser) -> None:
    command.add_argument("--ids", type=_readable, required=True, metavar="FILE", help="one id a line; - for stdin")
    command.add_argument("--same-text", action="store_true", help="erase all rows that bear the same text, too")
    _add_run_identity(command)
    command.set_defaults(run=_erase, dry_run=False, force=False)


def _add_backup(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> None:
    command.add_argument("file", type=Path, metavar="FILE.tar")
    _add_run_identity(command)
    command.set_defaults(run=run, dry_run=False, force=False)


def _add_replay(command: argparse.ArgumentParser) -> None:
    command.add_argument("decision", type=Path, metavar="decision.json", help="a record from store/decisions")
    command.add_argument("--config", metavar="PRESET|FILE.toml", help="its policy; default: that of the decision")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one setting")
    command.set_defaults(run=_replay)


def _add_predict(command: argparse.ArgumentParser) -> None:
    command.add_argument("--alias", default=CHAMPION_ALIAS, help=f"default: {CHAMPION_ALIAS}")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", type=_utf8, help="one question")
    what.add_argument("--input", type=_readable, metavar="CSV", help="a CSV with a column question_text; - for stdin")
    command.add_argument("--output", type=_writable, metavar="CSV", help="default: scored.csv; - for stdout")
    command.set_defaults(run=_predict)


def _readable(name: str) -> Path:
    return Path("/dev/stdin" if name == "-" else name)


def _writable(name: str) -> Path:
    return Path("/dev/stdout" if name == "-" else name)


def _utf8(text: str) -> str:
    """Return the text; raises ArgumentTypeError for bytes that are not UTF-8, which Python turns into surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("the text is not UTF-8") from None
    return text


def _add_simulate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", default="local", metavar="PRESET|FILE.toml", help="its policy; default: local")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one setting")
    command.add_argument("--weeks", type=_whole(10_000), default=208, help="each with its own test rows; default: 208")
    command.add_argument("--years", type=_whole(1_000), default=20, help="in a year, all weeks share them; default: 20")
    command.add_argument("--test-rows", type=_whole(10**8), nargs="+", default=[2_000, 13_000, 130_612], metavar="ROWS")
    command.add_argument("--plot", type=Path, metavar="SVG", help="draw the table as well")
    command.set_defaults(run=_simulate)


def _add_sample(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rows", type=_whole(10**8), default=20_000, help="default: 20000")
    command.add_argument("--seed", type=_whole(2**32 - 1), default=42, help="default: 42")
    command.add_argument(
        "--output", type=_writable, default=Path("sample.csv"), metavar="CSV", help="default: sample.csv; - for stdout"
    )
    command.set_defaults(run=_sample)
