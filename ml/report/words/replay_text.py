"""Put the result of a replay into words."""

import textwrap

from ml.judge.replay import Replay
from ml.report.figures import WIDTH, check_lines


def replay_text(replay: Replay) -> str:
    """Say whether the verdict is the recorded one again or, with another policy, what it would have been."""
    verdict, reason, checks = replay.judgement
    recorded = replay.decision.verdict
    if not replay.same_policy:
        headline = f"BY THIS POLICY: {verdict} (recorded: {recorded}). {reason}"
    elif replay.reproduced:
        headline = f"SAME: {verdict}, from {replay.rows:,} stored scores. {reason}"
    else:
        headline = f"NOT THE SAME: {verdict}, but {recorded} is recorded. {reason}"
    return "\n".join([textwrap.fill(headline, WIDTH), "", *check_lines(checks)])
