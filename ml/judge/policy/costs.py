"""What the candidate may cost to serve: beside the champion, or by itself where the champion's costs are not known."""

from typing import NamedTuple

from ml.config import PolicyConfig
from ml.judge.policy.checks import UNMEASURED, Checks
from ml.records import PairedCosts, Probe, RuleCheck, ServingCosts, UnmeasuredCosts


class _Cost(NamedTuple):
    """One field of ServingCosts: how to print it, and the increase, in `unit`, that passes whatever the ratio is."""

    rule: str
    field: str
    unit: str
    unit_size: float
    allowance: float


_QUESTION_LATENCY = _Cost("latency of one question", "question_seconds", "ms", 1e-3, allowance=5)
_BATCH_LATENCY = _Cost("latency of 256 questions", "batch_seconds", "ms", 1e-3, allowance=5)
_MEMORY = _Cost("peak memory", "peak_memory_bytes", "MiB", 2**20, allowance=64)
_SIZE = _Cost("artifact size", "artifact_bytes", "MiB", 2**20, allowance=1)


def cost_checks(probe: Probe, policy: PolicyConfig) -> Checks:
    """Check each serving cost beside the champion's; the checks fail for a probe that knew of no champion."""
    costs = probe.costs
    if isinstance(costs, UnmeasuredCosts):
        return _alone_checks(costs, policy)
    if not isinstance(costs, PairedCosts):
        unmeasured = (_QUESTION_LATENCY, _BATCH_LATENCY, _MEMORY, _SIZE)
        return tuple(
            RuleCheck(rule=cost.rule, observed=UNMEASURED, required="measured for both", passed=False)
            for cost in unmeasured
        )
    return (
        _cost_check(
            _QUESTION_LATENCY, *_both(costs, _QUESTION_LATENCY), costs.question_ratio, policy.max_latency_ratio
        ),
        _cost_check(_BATCH_LATENCY, *_both(costs, _BATCH_LATENCY), costs.batch_ratio, policy.max_latency_ratio),
        _plain_check(_MEMORY, *_both(costs, _MEMORY), policy.max_memory_ratio),
        _plain_check(_SIZE, *_both(costs, _SIZE), policy.max_size_ratio),
    )


def _alone_checks(costs: UnmeasuredCosts, policy: PolicyConfig) -> Checks:
    """Hold the candidate's own costs against absolute bounds, since the champion's are not known; files have a size."""
    alone = costs.candidate
    return (
        _bound_check(_QUESTION_LATENCY, alone, policy.max_question_seconds),
        _bound_check(_BATCH_LATENCY, alone, policy.max_batch_seconds),
        _bound_check(_MEMORY, alone, policy.max_memory_gib * 2**30),
        _plain_check(_SIZE, alone.artifact_bytes, costs.champion_artifact_bytes, policy.max_size_ratio),
    )


def _bound_check(cost: _Cost, costs: ServingCosts, bound: float) -> RuleCheck:
    observed = getattr(costs, cost.field)
    return RuleCheck(
        rule=cost.rule,
        observed=f"{observed / cost.unit_size:.1f} {cost.unit}, the champion's {UNMEASURED}",
        required=f"at most {bound / cost.unit_size:g} {cost.unit}",
        passed=observed <= bound,
    )


def _both(costs: PairedCosts, cost: _Cost) -> tuple[float, float]:
    return getattr(costs.candidate, cost.field), getattr(costs.champion, cost.field)


def _plain_check(cost: _Cost, candidate: float, champion: float, limit: float) -> RuleCheck:
    return _cost_check(cost, candidate, champion, candidate / champion, limit)


def _cost_check(cost: _Cost, candidate: float, champion: float, ratio: float, limit: float) -> RuleCheck:
    return RuleCheck(
        rule=cost.rule,
        observed=f"{ratio:.2f} x champion's {champion / cost.unit_size:.1f} {cost.unit}",
        required=f"at most {limit:g} x, or +{cost.allowance:g} {cost.unit}",
        passed=ratio <= limit or candidate - champion <= cost.allowance * cost.unit_size,
    )
