"""What a suite found: each expectation's result in plain words, with counts and figures, and never a value of a row."""

import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from numbers import Real
from typing import Any

import pandas as pd

from ml.data.expectations.suites import SEVERITIES, Suite
from ml.records import DataCheck, Measured, NotMeasured, Severity

_OBSERVED_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One expectation after the run: the check for the record, what was required and what a failure means."""

    check: DataCheck
    required: str
    note: str
    value: Measured | NotMeasured

    def line(self) -> str:
        """The finding in one line for a log."""
        check = self.check
        return f"{check.name} ({check.column}): observed {check.observed}, required {self.required}. {self.note}"


def explain(suite: Suite, checks: Sequence[DataCheck]) -> tuple[Finding, ...]:
    """Add to recorded checks the requirement and the note of their suite; leave out checks that the suite lacks now."""
    expectations = {each["meta"]["name"]: each for each in suite.content["expectations"]}
    return tuple(
        Finding(
            check=check,
            required=_required(each["type"], each["kwargs"], suite.parameters),
            note=each["meta"]["notes"],
            value=NotMeasured(),
        )
        for check in checks
        if (each := expectations.get(check.name))
    )


def worst_severity(findings: Sequence[Finding]) -> Severity:
    """Return the highest severity of the failed expectations; `none` if all passed."""
    failed = [finding.check.severity for finding in findings if not finding.check.passed]
    return max(failed, key=SEVERITIES.index, default="none")


def finding_of(result: Any, rows: pd.DataFrame, parameters: Mapping[str, float]) -> Finding:
    """Describe what Great Expectations found of one expectation on the rows."""
    expectation = result.expectation_config
    column = expectation.kwargs.get("column", "table")
    observed = _observed(result.result, column) if result.result else _unchecked(column, rows)
    return Finding(
        check=DataCheck(
            name=expectation.meta["name"],
            column=column,
            severity=expectation.severity.value,
            passed=bool(result.success),
            observed=observed[:_OBSERVED_CHARACTERS],
        ),
        required=_required(expectation.type, expectation.kwargs, parameters),
        note=expectation.meta["notes"],
        value=_value(result.result or {}),
    )


def _value(result: Mapping[str, Any]) -> Measured | NotMeasured:
    value = result.get("observed_value")
    if isinstance(value, Real) and math.isfinite(value):
        return Measured(value=float(value))
    return NotMeasured()


def _unchecked(column: str, rows: pd.DataFrame) -> str:
    if column != "table" and column not in rows.columns:
        return "nothing: could not be checked, the column is missing"
    return "nothing: could not be checked, the values are of another kind"


def _observed(result: Mapping[str, Any], column: str) -> str:
    """Counts and figures, and names of columns; never a value of a column."""
    if "unexpected_count" in result:
        of_all = f" of {result['element_count']:,} rows" if "element_count" in result else " values"
        return f"{result['unexpected_count']:,}{of_all} against it"
    mismatched = result.get("details", {}).get("mismatched", {})
    if mismatched:
        return "; ".join(f"{kind} {', '.join(columns)}" for kind, columns in mismatched.items())
    value = result.get("observed_value")
    if isinstance(value, list) and column == "table":
        return ", ".join(map(str, value))
    if not isinstance(value, Real | None):
        return f"{len(value):,} values" if isinstance(value, Sized) and not isinstance(value, str) else "a value"
    if value is None or not math.isfinite(value):
        return "a value that the reference does not have"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def _required(kind: str, kwargs: Mapping[str, Any], parameters: Mapping[str, float]) -> str:
    low = _given(kwargs.get("min_value"), parameters)
    high = _given(kwargs.get("max_value", kwargs.get("threshold")), parameters)
    if low is not None and high is not None:
        return f"{_bound(low)} to {_bound(high)}"
    if low is not None:
        return f"at least {_bound(low)}"
    if high is not None:
        return f"at most {_bound(high)}"
    if "column_set" in kwargs:
        return f"exactly {', '.join(kwargs['column_set'])}"
    if "value_set" in kwargs:
        return f"one of {', '.join(map(str, kwargs['value_set']))}"
    return str(kwargs.get("regex", kind.removeprefix("expect_column_values_to_").replace("_", " ")))


def _bound(value: Any) -> str:
    return f"{value:,.15g}" if isinstance(value, int | float) else str(value)


def _given(value: Any, parameters: Mapping[str, float]) -> Any:
    return parameters[value["$PARAMETER"]] if isinstance(value, dict) else value
