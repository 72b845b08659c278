"""The commands that need no run: `simulate` and `sample`."""

import argparse
from pathlib import Path
from typing import Any

from ml.cli.arguments import whole, writable
from ml.cli.surroundings import current_store
from ml.config.load import load_config
from ml.errors import ConfigError
from ml.store.files import write_whole


def add_commands(commands: Any) -> None:
    """Add both."""
    _add_simulate(commands.add_parser("simulate", help="simulate on stored scores how often the gate errs"))
    _add_sample(commands.add_parser("sample", help="write a generated CSV in the shape of the real one"))


def _add_simulate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", default="local", metavar="PRESET|FILE.toml", help="its policy; default: local")
    command.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one setting")
    command.add_argument("--weeks", type=whole(10_000), default=208, help="each with its own test rows; default: 208")
    command.add_argument("--years", type=whole(1_000), default=20, help="in a year, all weeks share them; default: 20")
    command.add_argument("--test-rows", type=whole(10**8), nargs="+", default=[2_000, 13_000, 130_612], metavar="ROWS")
    command.add_argument("--plot", type=Path, metavar="SVG", help="draw the table as well")
    command.set_defaults(run=_simulate)


def _add_sample(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rows", type=whole(10**8), default=20_000, help="default: 20000")
    command.add_argument("--seed", type=whole(2**32 - 1), default=42, help="default: 42")
    command.add_argument(
        "--output", type=writable, default=Path("sample.csv"), metavar="CSV", help="default: sample.csv; - for stdout"
    )
    command.set_defaults(run=_sample)


def _simulate(arguments: argparse.Namespace) -> None:
    from ml.research.simulation import Population, Simulation, outcome_plot, outcome_table, read_two_trainings

    config = load_config(arguments.config, arguments.set)
    simulation = Simulation(
        population=Population.of(*read_two_trainings(current_store())),
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
