"""Run a suite on rows with Great Expectations."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from ml.data.expectations.data_docs import NoIndex, make_readable_offline, templates_compiled_once, whole_folder
from ml.data.expectations.findings import Finding, finding_of
from ml.data.expectations.library import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
    UpdateDataDocsAction,
    gx,
    pandas_execution_engine,
)
from ml.data.expectations.suites import Suite


def run_suite(suite: Suite, rows: pd.DataFrame, docs: Path) -> tuple[Finding, ...]:
    """Run all expectations on the rows at once, and write Data Docs to the folder `docs` in place of earlier ones.

    The results contain only counts, never values: so no user text gets into records or pages.
    """
    with whole_folder(docs) as folder:
        with _nothing_swallowed(), _no_fingerprint(), templates_compiled_once():
            findings = _run(suite, rows, _context(folder))
        make_readable_offline(folder)
    return findings


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
    findings = [finding_of(result, rows, suite.parameters) for result in validation.results]
    return tuple(sorted(findings, key=lambda finding: order.index(finding.check.name)))


def _context(docs: Path) -> Any:
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.absolute())},
        "site_index_builder": {"module_name": NoIndex.__module__, "class_name": NoIndex.__name__},
    }
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={"reports": site},
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


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
