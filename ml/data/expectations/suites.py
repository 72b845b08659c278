"""Read suites of expectations from our JSON; refuse one that Great Expectations would take in silence, and not run."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from ml.config import ScoreConfig, ValidateConfig
from ml.data.expectations.library import gx
from ml.errors import ConfigError, raise_if_passing
from ml.fingerprint import suite_path
from ml.records import Severity

SEVERITIES: tuple[Severity, ...] = ("none", "info", "warning", "critical")
_FORM = (
    "keep the form of expectations/raw.json: name, expectations (each with type and kwargs), and meta.parameters, which"
    " is {} where a suite has none"
)
_PRESENCE = ("expect_column_values_to_not_be_null", "expect_column_values_to_be_null")
_COLUMNS = "expect_table_columns_"  # how the types of those begin that look at the columns' names only


class _ExpectationForm(BaseModel):
    type: str
    kwargs: dict[str, Any]


class _MetaForm(BaseModel):
    parameters: dict[str, Annotated[float, Field(allow_inf_nan=False)]]


class _SuiteForm(BaseModel):
    """What a suite's file must have; Great Expectations looks at the rest."""

    name: Annotated[str, Field(min_length=1)]
    expectations: list[_ExpectationForm]
    meta: _MetaForm


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The content of a suite's file, and the values of its parameters in this run."""

    content: Mapping[str, Any]
    parameters: Mapping[str, float]

    @property
    def name(self) -> str:
        """The suite's name in its file."""
        return str(self.content["name"])

    @property
    def digest(self) -> str:
        """Sha256, in hex, of content and parameters."""
        text = json.dumps({"content": self.content, "parameters": self.parameters}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def reads(self, column: str, *, measures: Collection[str]) -> bool:
        """Whether an expectation looks at the column's values, and not only whether they are there.

        The names of `measures` of the column may begin as its own does.
        """
        return any(
            column in text
            for each in self.content["expectations"]
            if each["type"] not in _PRESENCE and not each["type"].startswith(_COLUMNS)
            for text in _texts_in(each["kwargs"])
            if text not in measures
        )


class Suites(NamedTuple):
    """The suites for the raw file, for the change since the champion's, and for the splits."""

    raw: Suite
    change: Suite
    splits: Suite


def read_suites(config: ValidateConfig) -> Suites:
    """All suites; raises ConfigError for a suite that is not as it should be, or a parameter that none has."""
    names = (config.raw_suite, config.change_suite, config.splits_suite)
    return Suites(*_with_parameters([_read(name, "validate") for name in names], config.parameters, "validate"))


def read_scores_suite(config: ScoreConfig) -> Suite:
    """The suite of the watch over scoring; raises ConfigError as `read_suites` does."""
    (suite,) = _with_parameters([_read(config.suite, "score")], config.parameters, "score")
    return suite


def _with_parameters(
    contents: Sequence[dict[str, Any]], parameters: Mapping[str, float], section: str
) -> Iterator[Suite]:
    defaults = [content["meta"]["parameters"] for content in contents]
    known = set().union(*defaults)
    for name in parameters.keys() - known:
        raise ConfigError(
            f"no suite has a parameter {name!r}",
            where=f"config [{section}.parameters]",
            fix=f"known: {', '.join(sorted(known))}",
        )
    for content, default in zip(contents, defaults, strict=True):
        yield Suite(content=content, parameters={name: parameters.get(name, value) for name, value in default.items()})


def _read(name: str, section: str) -> dict[str, Any]:
    path = suite_path(name)
    try:
        suite = json.loads(path.read_text(encoding="utf-8"))
        _check_complete(suite, path.name)
        _check_known(suite, path.name)
    except ConfigError:
        raise
    except OSError as error:
        raise_if_passing(error)
        raise ConfigError(
            f"the suite cannot be read: {error.strerror}",
            where=f"config [{section}], {path.name}",
            fix="check the path and its rights",
        ) from None
    except Exception as error:
        raise_if_passing(error)
        raise ConfigError(
            f"the suite cannot be read ({type(error).__name__}: {str(error)[:200]})",
            where=path.name,
            fix=_FORM,
        ) from None
    return dict(suite)


def _check_complete(suite: Mapping[str, Any], file: str) -> None:
    """Raise ConfigError unless each expectation has name, notes and severity, and takes the suite's own parameters.

    Great Expectations skips an expectation with an unknown severity without an error.
    """
    _check_form(suite, file)
    parameters = suite["meta"]["parameters"].keys()
    for number, expectation in enumerate(suite["expectations"], start=1):
        meta = expectation.get("meta") or {}
        where = f"{file}, expectation {number} ({meta.get('name') or expectation['type']})"
        for key in ("name", "notes"):
            if not meta.get(key):
                fix = "write what it is called as meta.name, and what a failure means as meta.notes"
                raise ConfigError(f"the expectation has no meta.{key}", where=where, fix=fix)
        if expectation.get("severity") not in SEVERITIES[1:]:
            fix = f'write one of {", ".join(SEVERITIES[1:])} as "severity", beside "kwargs"'
            raise ConfigError("the expectation has no severity", where=where, fix=fix)
        for unknown in sorted(_parameters_in(expectation["kwargs"]) - parameters):
            fix = f"give it a value in meta.parameters, or use one of {', '.join(sorted(parameters))}"
            raise ConfigError(f"the suite has no parameter {unknown!r}", where=where, fix=fix)


def _check_form(suite: Any, file: str) -> None:
    """Raise ConfigError unless the suite has a name, its expectations, and its parameters, each a number."""
    try:
        _SuiteForm.model_validate(suite)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors(include_url=False, include_input=False)[0]["loc"][:3])
        raise ConfigError(
            f"the suite has no {key}, or not in its form" if key else "the suite is no JSON object",
            where=file,
            fix=_FORM,
        ) from None


def _check_known(suite: dict[str, Any], file: str) -> None:
    """Raise ConfigError for an expectation that Great Expectations does not know or cannot build: it leaves it out.

    Its own log shows a traceback for each of them.
    """
    log = logging.getLogger("great_expectations.core.expectation_suite")
    log.disabled = True
    try:
        known = [each.meta["name"] for each in gx.ExpectationSuite(**suite).expectations]
    finally:
        log.disabled = False
    for number, expectation in enumerate(suite["expectations"], start=1):
        name = expectation["meta"]["name"]
        if name not in known:
            raise ConfigError(
                f"Great Expectations knows no {expectation['type'][:80]} with these kwargs",
                where=f"{file}, expectation {number} ({name})",
                fix="correct type and kwargs by its gallery, https://greatexpectations.io/expectations",
            )


def _parameters_in(kwargs: Mapping[str, Any]) -> set[str]:
    return {value["$PARAMETER"] for value in kwargs.values() if isinstance(value, dict) and "$PARAMETER" in value}


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts_in(list(value.values()))
    elif isinstance(value, Sequence):
        for each in value:
            yield from _texts_in(each)
