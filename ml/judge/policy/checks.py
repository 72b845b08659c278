"""What all rules give: checks, each with what was observed and what is required."""

from ml.records import RuleCheck

Checks = tuple[RuleCheck, ...]

UNMEASURED = "not measured"


def failed_rules(checks: Checks) -> str:
    """Name the rules that failed."""
    return " and ".join(check.rule for check in checks if not check.passed)
