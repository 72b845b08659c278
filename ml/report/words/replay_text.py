"""Put the result of a replay into words."""

import textwrap

from ml.judge.replay import Replay
from ml.records import ErasedRows
from ml.report.figures import WIDTH, check_lines


def replay_text(replay: Replay) -> str:
    """Say whether the verdict is the recorded one again or, with another policy, what it would have been."""
    verdict, reason, checks = replay.judgement
    recorded = replay.decision.verdict
    if not replay.same_policy:
        headline = f"BY THIS POLICY: {verdict} (recorded: {recorded}). {reason}"
    elif replay.reproduced:
        headline = f"SAME: {verdict}, from {_grounds(replay)}. {reason}"
    else:
        headline = f"NOT THE SAME: {verdict}, but {recorded} is recorded. {reason}"
    told = [textwrap.fill(_erased(replay.erased, replay.rows), WIDTH)] if isinstance(replay.erased, ErasedRows) else []
    return "\n".join([textwrap.fill(headline, WIDTH), *told, "", *check_lines(checks)])


def _grounds(replay: Replay) -> str:
    return "the recorded figures" if isinstance(replay.erased, ErasedRows) else f"{replay.rows:,} stored scores"


def _erased(erased: ErasedRows, remaining: int) -> str:
    dates = ", ".join(dict.fromkeys(time[:10] for time in erased.times))
    return (
        f"{erased.rows:,} of {erased.rows + remaining:,} test rows were erased on {dates}: no figure can be measured"
        " again as it was. What can be checked: comparison, policy and probe have the digests that the decision"
        " names, and the verdict follows from the recorded figures. Another policy judges by the remaining rows."
    )
