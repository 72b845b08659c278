"""Import Great Expectations without what no suite of this project asks for."""

from ml.data.expectations.import_later import imported_later

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

__all__ = (
    "DataContextConfig",
    "InMemoryStoreBackendDefaults",
    "ProgressBarsConfig",
    "UpdateDataDocsAction",
    "gx",
    "pandas_execution_engine",
    "view",
)
