import numpy as np
import pytest

from ml.cli import main
from ml.config import PolicyConfig
from ml.errors import DataError
from ml.research.simulation import (
    FIXED_THRESHOLD,
    RULES,
    Outcome,
    Population,
    Simulation,
    outcome_plot,
    outcome_table,
    read_two_trainings,
)
from ml.store import Store


def make_scores(rows=4000, noise=0.7):
    """Make targets and the scores of two trainings that differ only in noise."""
    random = np.random.default_rng(0)
    target = (random.random(rows) < 0.0619).astype(int)
    known = random.normal(-4 + 3.6 * target, 1.8)
    first, second = (1 / (1 + np.exp(-known - random.normal(0, noise, rows))) for _ in range(2))
    return target, first, second


def make_simulation():
    return Simulation(
        population=Population.of(*make_scores()), policy=PolicyConfig(resamples=500), positive_rate=0.0619
    )


def test_models_of_a_population_disagree_as_the_two_trainings_did():
    population = Population.of(*make_scores(noise=0.7))

    assert population.spread.mean() == pytest.approx(0.7, abs=0.03)


def test_a_draw_has_the_share_of_positives_that_is_met_in_service():
    drawn = Population.of(*make_scores()).sample(1000, 0.3, np.random.default_rng(0))

    assert (len(drawn.target), drawn.target.sum()) == (1000, 300)


def test_the_gate_promotes_equal_models_seldom_and_the_plain_rule_does_so_often():
    outcomes = make_simulation().run(test_rows=[4000], gains=[0.0], weeks=200, years=1)

    gate, _, fixed = (outcome.promoted for outcome in outcomes if not outcome.same_rows)
    assert gate <= 0.05
    assert 0.2 < fixed < 0.4


def test_the_gate_sees_a_clear_gain():
    outcomes = make_simulation().run(test_rows=[4000], gains=[0.2], weeks=20, years=3)

    shares = {outcome.same_rows: outcome.promoted for outcome in outcomes if outcome.rule == "this gate"}
    assert min(shares.values()) >= 0.75


def test_on_the_same_rows_all_year_a_lucky_champion_is_replaced_less_and_less():
    outcomes = make_simulation().run(test_rows=[4000], gains=[0.0], weeks=60, years=3)

    fresh, same = (
        next(each.promoted for each in outcomes if (each.rule, each.same_rows) == (FIXED_THRESHOLD, same_rows))
        for same_rows in (False, True)
    )
    assert same < fresh / 2


def test_whom_a_rule_promotes_is_its_champion_for_the_rest_of_the_year():
    """Each promotion raises both figures of the champion, so there are few promotions in a year, but some."""
    shares = make_simulation().judge_year([0.0], 4000, np.random.default_rng(0))

    assert shares.shape == (1, 3)
    assert 0 < shares[0, 2] * 52 < 15


def test_the_same_seed_gives_the_same_outcomes():
    first, second = (make_simulation().run(test_rows=[1000], gains=[0.02], weeks=5, years=1) for _ in range(2))

    assert first == second


def test_the_comparison_with_the_most_rows_and_two_models_is_read(tmp_path):
    for name, rows, other in (("small", 10, 0.5), ("large", 20, 0.5), ("same model twice", 30, 0.0)):
        folder = tmp_path / "comparisons" / name
        folder.mkdir(parents=True)
        scores = np.linspace(0, 0.5, rows)
        np.savez(folder / "scores.npz", target=np.zeros(rows), candidate=scores, champion=scores + other)

    target, candidate, champion = read_two_trainings(Store(tmp_path))

    assert len(target) == 20
    assert champion[0] - candidate[0] == 0.5


def test_without_two_models_there_is_nothing_to_simulate(tmp_path):
    with pytest.raises(DataError, match="two different models"):
        read_two_trainings(Store(tmp_path))


def test_the_command_prints_the_table_and_draws_the_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    folder = tmp_path / "store" / "comparisons" / "one"
    folder.mkdir(parents=True)
    target, candidate, champion = make_scores(rows=500)
    np.savez(folder / "scores.npz", target=target, candidate=candidate, champion=champion)

    status = main(
        ["simulate", "--weeks", "1", "--years", "1", "--test-rows", "500", "--plot", str(tmp_path / "plot.svg")]
    )

    assert status == 0
    assert "| 500 | this gate |" in capsys.readouterr().out
    assert (tmp_path / "plot.svg").read_text().startswith("<svg")


def test_the_outcomes_are_a_table_and_a_picture():
    outcomes = [
        Outcome(rule=rule, test_rows=2000, same_rows=same_rows, gain=gain, promoted=share)
        for same_rows in (False, True)
        for gain, shares in ((0.0, (0.02, 0.1, 0.3)), (0.02, (0.5, 0.6, 0.7)))
        for rule, share in zip(RULES, shares, strict=True)
    ]

    assert outcome_table(outcomes, weeks=52, years=4) == (
        "Share of weeks in which the candidate is promoted: 52 weeks apart, 4 years on the same rows\n\n"
        "| test rows | rule | equal | +2 points |\n"
        "| --- | --- | --- | --- |\n"
        "| 2,000 | this gate | 2.0% | 50.0% |\n"
        "| 2,000 | both higher | 10.0% | 60.0% |\n"
        "| 2,000 | both higher, fixed threshold | 30.0% | 70.0% |\n"
        "| 2,000, the same all year | this gate | 2.0% | 50.0% |\n"
        "| 2,000, the same all year | both higher | 10.0% | 60.0% |\n"
        "| 2,000, the same all year | both higher, fixed threshold | 30.0% | 70.0% |"
    )
    assert "2,000, the same all year" in outcome_plot(outcomes)
