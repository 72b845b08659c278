"""Read suites of Great Expectations from our JSON, run them, and describe their results in plain words."""

import hashlib
import json
import logging
import math
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from pydantic import BaseModel, Field, ValidationError

from ml.config import ScoreConfig, ValidateConfig
from ml.data.import_later import imported_later
from ml.errors import ConfigError, raise_if_passing
from ml.fingerprint import suite_path
from ml.records import DataCheck, Measured, NotMeasured, Severity
from ml.store.files import rename_whole

# A third of the time of this import is theirs. Expectations of distributions use them: the suite of splits has none.
with imported_later("scipy.stats", "altair"):
    import great_expectations as gx
    from great_expectations.checkpoint import UpdateDataDocsAction
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.execution_engine import pandas_execution_engine
    from great_expectations.render.view import view

_OBSERVED_CHARACTERS = 80
_FORM = (
    "keep the form of expectations/raw.json: name, expectations (each with type and kwargs), and meta.parameters, which"
    " is {} where a suite has none"
)
_PRESENCE = ("expect_column_values_to_not_be_null", "expect_column_values_to_be_null")
_COLUMNS = "expect_table_columns_"  # how the types of those begin that look at the columns' names only
_SEVERITIES: tuple[Severity, ...] = ("none", "info", "warning", "critical")


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


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts_in(list(value.values()))
    elif isinstance(value, Sequence):
        for each in value:
            yield from _texts_in(each)


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
        if expectation.get("severity") not in _SEVERITIES[1:]:
            fix = f'write one of {", ".join(_SEVERITIES[1:])} as "severity", beside "kwargs"'
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


def run_suite(suite: Suite, rows: pd.DataFrame, docs: Path) -> tuple[Finding, ...]:
    """Run all expectations on the rows at once, and write Data Docs to the folder `docs` in place of earlier ones.

    The results contain only counts, never values: so no user text gets into records or pages.
    """
    with _whole_folder(docs) as folder:
        with _nothing_swallowed(), _no_fingerprint(), _templates_compiled_once():
            findings = _run(suite, rows, _context(folder))
        _make_readable_offline(folder)
    return findings


class _Swallowed(logging.Filter):
    """Keeps the errors that a logger is told of, and lets none of its messages out."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException] = []

    def filter(self, record: logging.LogRecord) -> bool:
        error = sys.exc_info()[1]
        self.errors += [error] if error is not None else []
        return False


@contextmanager
def _nothing_swallowed() -> Iterator[None]:
    """Raise what Great Expectations only logs, with traceback and paths: a page that it could not write."""
    swallowed, log = _Swallowed(), logging.getLogger("great_expectations.render.renderer.site_builder")
    log.addFilter(swallowed)
    try:
        yield
    finally:
        log.removeFilter(swallowed)
    for error in swallowed.errors:
        raise error


@contextmanager
def _no_fingerprint() -> Iterator[None]:
    """Spare Great Expectations a hash of all rows for a mark on its page, which it leaves out above a size itself."""
    size = pandas_execution_engine.HASH_THRESHOLD
    pandas_execution_engine.HASH_THRESHOLD = 0
    try:
        yield
    finally:
        pandas_execution_engine.HASH_THRESHOLD = size


class _Compiled(BytecodeCache):
    """Keeps what Jinja has compiled, for all environments of this process."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give the code of a template that has been compiled."""
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code of a template."""
        self._code[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


@contextmanager
def _templates_compiled_once() -> Iterator[None]:
    """Let Great Expectations compile its templates once, not once for each kind of page and each run."""
    environment = view.Environment
    view.Environment = partial(environment, bytecode_cache=_COMPILED)
    try:
        yield
    finally:
        view.Environment = environment


class NoIndex:
    """Stands for the writer of the index of Data Docs, in whose place ours comes."""

    def __init__(self, **_: object) -> None:
        """Take what the writer would need."""

    def build(self, **_: object) -> tuple[None, None]:
        """Write nothing."""
        return None, None


@contextmanager
def _whole_folder(place: Path) -> Iterator[Path]:
    """Give a new folder, which is moved to `place` at the end: `place` is complete, or it does not exist."""
    beside = place.with_name(f"{place.name}.part")
    for earlier in (beside, place):
        shutil.rmtree(earlier, ignore_errors=True)
    yield beside
    rename_whole(beside, place)


def _make_readable_offline(docs: Path) -> None:
    """Add our own styles to the pages, which load theirs from the internet, and an index that leads to the result.

    The index of Great Expectations stays empty without scripts from the internet.
    """
    style = f"<style>{Path(__file__).with_name('data_docs.css').read_text(encoding='utf-8')}</style>"
    for page in docs.rglob("*.html"):
        page.write_text(page.read_text(encoding="utf-8").replace("<head>", f"<head>{style}", 1), encoding="utf-8")
    (result,) = docs.glob("validations/**/*.html")
    address = result.relative_to(docs).as_posix()
    index = f'<!doctype html><meta http-equiv="refresh" content="0; url={address}"><a href="{address}">The result</a>\n'
    (docs / "index.html").write_text(index, encoding="utf-8")


def _run(suite: Suite, rows: pd.DataFrame, context: Any) -> tuple[Finding, ...]:
    batch = (
        context.data_sources.add_pandas("csv").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    )
    definition = gx.ValidationDefinition(
        name=suite.name, data=batch, suite=context.suites.add(gx.ExpectationSuite(**suite.content))
    )
    checkpoint = gx.Checkpoint(
        name=suite.name,
        validation_definitions=[context.validation_definitions.add(definition)],
        actions=[UpdateDataDocsAction(name="data_docs")],
        result_format={"result_format": "BASIC", "partial_unexpected_count": 0},
    )
    outcome = context.checkpoints.add(checkpoint).run(
        batch_parameters={"dataframe": rows}, expectation_parameters=dict(suite.parameters)
    )
    (validation,) = outcome.run_results.values()
    order = [expectation["meta"]["name"] for expectation in suite.content["expectations"]]
    findings = [_finding(result, rows, suite.parameters) for result in validation.results]
    return tuple(sorted(findings, key=lambda finding: order.index(finding.check.name)))


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
    return max(failed, key=_SEVERITIES.index, default="none")


def _context(docs: Path) -> Any:
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.absolute())},
        "site_index_builder": {"module_name": __name__, "class_name": NoIndex.__name__},
    }
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={"reports": site},
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _finding(result: Any, rows: pd.DataFrame, parameters: Mapping[str, float]) -> Finding:
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
