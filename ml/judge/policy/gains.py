"""What a candidate must show over the champion, and the time that must have passed since the last promotion."""

from datetime import datetime, timedelta

from ml.config import PolicyConfig
from ml.judge.policy.checks import UNMEASURED, Checks
from ml.judge.policy.leave import Leave
from ml.records import Comparison, Evaluation, Evidence, Interval, NoPromotion, Past, RuleCheck

COOLDOWN_RULE = "cool-down"
GAIN_RULES = ("precision gain", "recall gain", "F1 gain", "F1 gain, surely", "hysteresis")
_CLOCKS_DIFFER_HOURS = 1.0  # so much two hosts may be apart


def gain_checks(comparison: Comparison, champion: Evaluation) -> Checks:
    """Check that what must be higher is higher."""
    candidate = comparison.candidate
    if comparison.trained.rebased:
        return _point_check(candidate, champion), _gain("F1 gain", candidate.f1, champion.f1)
    return (
        _gain("precision gain", candidate.precision, champion.precision),
        _gain("recall gain", candidate.recall, champion.recall),
    )


def _point_check(candidate: Evaluation, champion: Evaluation) -> RuleCheck:
    """Both points, for a person to see; the setting that re-based the candidate's is their word for it."""
    ours, theirs = (f"{each.precision:.4f} / {each.recall:.4f}" for each in (candidate, champion))
    return RuleCheck(
        rule="operating point, re-based",
        observed=f"precision / recall {ours}",
        required=f"any; champion {theirs}",
        passed=True,
    )


def _gain(rule: str, observed: float, champion: float) -> RuleCheck:
    return RuleCheck(
        rule=rule,
        observed=f"{observed:.4f} ({observed - champion:+.2g})",
        required=f"higher than {champion:.4f}",
        passed=observed > champion,
    )


def certainty_check(evidence: Evidence, policy: PolicyConfig, leave: Leave) -> RuleCheck:
    """Check that F1 is higher by more than chance could be."""
    gain = evidence.figures.get("f1")
    sure = gain is not None and gain.lower > policy.min_f1_gain
    return RuleCheck(
        rule="F1 gain, surely",
        observed=_sureness(gain, "{0.difference:+.4f}, at least {0.lower:+.4f}", sure, leave),
        required=f"above {policy.min_f1_gain:g} at {evidence.confidence:.4g} confidence",
        passed=sure or (leave.approved and gain is not None),
    )


def hysteresis_check(evidence: Evidence, policy: PolicyConfig, leave: Leave) -> RuleCheck:
    """Require a larger gain after a rollback, which shows that the gate saw a gain where there was none."""
    gain, floor = evidence.figures.get("f1"), policy.min_f1_gain + policy.hysteresis_f1_gain
    required = f"above {floor:g} after a rollback"
    if not evidence.past.after_rollback:
        return RuleCheck(rule="hysteresis", observed="no rollback", required=required, passed=True)
    sure = gain is not None and gain.lower > floor
    return RuleCheck(
        rule="hysteresis",
        observed=_sureness(gain, "F1 at least {0.lower:+.4f}", sure, leave),
        required=required,
        passed=sure or (leave.approved and gain is not None),
    )


def _sureness(gain: Interval | None, text: str, sure: bool, leave: Leave) -> str:
    if gain is None:
        return UNMEASURED
    return f"{text.format(gain)}{'' if sure else leave.approval}"


def cooldown_check(past: Past, policy: PolicyConfig, leave: Leave) -> Checks:
    """A promotion from the future says nothing of how long it is ago, and holds nobody back until its date."""
    required = f"at least {policy.cooldown_hours:g} hours"
    last = past.last_promotion
    if isinstance(last, NoPromotion):
        return (RuleCheck(rule=COOLDOWN_RULE, observed="no promotion yet", required=required, passed=True),)
    hours = (datetime.fromisoformat(past.time) - datetime.fromisoformat(last.time)) / timedelta(hours=1)
    if hours < -_CLOCKS_DIFFER_HOURS:
        observed = f"unknown: {last.version} is dated {-hours:.1f} hours ahead, a clock was wrong"
        return (RuleCheck(rule=COOLDOWN_RULE, observed=observed, required=required, passed=True),)
    over = hours >= policy.cooldown_hours
    observed = f"{max(hours, 0.0):.1f} hours after {last.version}{'' if over else leave.words}"
    return (RuleCheck(rule=COOLDOWN_RULE, observed=observed, required=required, passed=over or leave.given),)
