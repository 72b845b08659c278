"""The commands that show or use what came of runs: verdict, history, replay, metrics, predict."""

import argparse
from pathlib import Path
from typing import Any

from ml.cli.arguments import add_run_identity, readable, utf8, writable
from ml.cli.surroundings import current_home, current_mirror, current_registry, current_store, read_record, run_of
from ml.config.load import load_config
from ml.errors import ConfigError, DataError, LineageError
from ml.records import Decision, NoChampion, digest
from ml.registry import CHAMPION_ALIAS
from ml.store.files import write_whole


def add_commands(commands: Any) -> None:
    """Add `verdict`, `history`, `replay`, `metrics` and `predict`."""
    verdict = commands.add_parser("verdict", help="print the newest verdict, its checks and where its reports are")
    verdict.set_defaults(run=_show_verdict)
    _add_history(commands.add_parser("history", help="print all verdicts and rollbacks as a table"))
    _add_replay(commands.add_parser("replay", help="judge again from the stored scores, by the same policy or another"))
    _add_metrics(commands.add_parser("metrics", help="print figures for Prometheus, in the text form of OpenMetrics"))
    _add_predict(commands.add_parser("predict", help="score questions with the model behind an alias"))


def _add_history(command: argparse.ArgumentParser) -> None:
    command.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw precision and recall by version as well")
    command.set_defaults(run=_show_history)


def _add_replay(command: argparse.ArgumentParser) -> None:
    command.add_argument("decision", type=Path, metavar="decision.json", help="a record from store/decisions")
    command.add_argument("--config", metavar="PRESET|FILE.toml", help="its policy; default: that of the decision")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one setting")
    command.set_defaults(run=_replay)


def _add_metrics(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", type=writable, metavar="FILE.prom", help="where they go instead, whole")
    add_run_identity(command)
    command.set_defaults(run=_show_metrics, dry_run=False, force=False)


def _add_predict(command: argparse.ArgumentParser) -> None:
    command.add_argument("--alias", default=CHAMPION_ALIAS, help=f"default: {CHAMPION_ALIAS}")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", type=utf8, help="one question")
    what.add_argument("--input", type=readable, metavar="CSV", help="a CSV with a column question_text; - for stdin")
    command.add_argument("--output", type=writable, metavar="CSV", help="default: scored.csv; - for stdout")
    command.set_defaults(run=_predict)


def _show_verdict(arguments: argparse.Namespace) -> None:
    from ml.report.words.verdict import VERDICT, newest_verdict

    current_mirror().fetch_newest(VERDICT)
    print(newest_verdict(current_home() / "reports"))


def _show_history(arguments: argparse.Namespace) -> None:
    from ml.report.history_table import history_text

    history = current_registry().history()
    if arguments.plot is not None:
        from ml.report.plots import history_plot

        write_whole(arguments.plot, history_plot(history))
    print(history_text(history))


def _replay(arguments: argparse.Namespace) -> None:
    from ml.judge.kept_decisions import policy_of
    from ml.judge.replay import replay
    from ml.report.words.replay_text import replay_text

    store, decision = current_store(), read_record(arguments.decision)
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


def _show_metrics(arguments: argparse.Namespace) -> None:
    from ml.report.open_metrics import metrics_text

    run = run_of(arguments)
    run.mirror.fetch_all(records_alone=True)
    text = metrics_text(run)
    if arguments.output is None:
        print(text)
    else:
        write_whole(arguments.output, f"{text}\n")


def _predict(arguments: argparse.Namespace) -> None:
    from ml.model.predict import load_model, predict_csv

    registry = current_registry()
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
