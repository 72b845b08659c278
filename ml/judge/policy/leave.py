"""What people have said: which source the rows may have, what they rolled back from, and what they gave leave for."""

from typing import NamedTuple

from ml.judge.policy.checks import Checks
from ml.records import Comparison, NoPromotion, NothingWithdrawn, Past, RuleCheck, SourceName, UnknownSource

SOURCE_RULE = "same source"
_SAMPLE = "sample"  # the scheme of the generated questions, which stand for nothing
_LONGEST_NAME = 60


class Leave(NamedTuple):
    """What a person has said beforehand: `forced` with the run, `approved` after its verdict."""

    forced: bool
    approved: bool

    @property
    def given(self) -> bool:
        """Whether either was said."""
        return self.forced or self.approved

    @property
    def words(self) -> str:
        """What stands behind what was observed."""
        return ", but forced" if self.forced else self.approval

    @property
    def approval(self) -> str:
        """The same, of an approval alone."""
        return ", but approved" if self.approved else ""


def source_checks(comparison: Comparison, past: Past, leave: Leave) -> Checks:
    """Fail for rows of another source than the champion's, unless a person gives leave; the sample always fails."""
    source, champions = comparison.source, past.champion_source
    if isinstance(source, UnknownSource) or isinstance(champions, NoPromotion):  # before there were names
        return ()
    same, is_sample = source == champions, source.name == _SAMPLE
    words = leave.words if not (same or is_sample) else ""
    return (
        RuleCheck(
            rule=SOURCE_RULE,
            observed=f"{source.name[:_LONGEST_NAME]}{words}",
            required=_source_text(champions),
            passed=same or bool(words),
        ),
    )


def _source_text(source: SourceName | UnknownSource) -> str:
    if isinstance(source, UnknownSource):
        return "the champion's, which is not recorded"
    return f"the champion's: {source.name[:_LONGEST_NAME]}"


def withdrawn_check(past: Past, leave: Leave) -> Checks:
    """Fail if a person rolled back from a version of the same weights or inputs, unless a person gives leave."""
    rule, required, withdrawn = "rolled back before", "no such weights or inputs", past.withdrawn
    if isinstance(withdrawn, NothingWithdrawn):
        return (RuleCheck(rule=rule, observed="none", required=required, passed=True),)
    observed = f"{withdrawn.version}{leave.words}"
    return (RuleCheck(rule=rule, observed=observed, required=required, passed=leave.given),)
