import sys

import pytest

from ml.data.expectations.import_later import imported_later


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library that imports a slow module for one of its functions."""
    (tmp_path / "slow_module.py").write_text("ANSWER = 42\n")
    (tmp_path / "some_library.py").write_text("import slow_module\n\n\ndef answer():\n    return slow_module.ANSWER\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("slow_module", "some_library"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("library")
def test_a_module_is_imported_when_something_of_it_is_read():
    with imported_later("slow_module"):
        import some_library
    assert "slow_module" not in sys.modules
    assert some_library.answer() == 42
    assert sys.modules["slow_module"].ANSWER == 42


@pytest.mark.usefixtures("library")
def test_who_imports_it_afterwards_gets_itself():
    with imported_later("slow_module"):
        import some_library  # noqa: F401
    import slow_module

    assert slow_module.__file__


@pytest.mark.usefixtures("library")
def test_a_module_that_is_imported_already_stays():
    import slow_module

    with imported_later("slow_module"):
        import some_library
    assert some_library.slow_module is slow_module


def test_a_suite_may_still_ask_for_a_distribution(tmp_path):
    import pandas as pd

    from ml.data.expectations.run import run_suite
    from ml.data.expectations.suites import Suite

    partition = {"values": ["a", "b"], "weights": [0.5, 0.5]}
    expectation = {
        "type": "expect_column_kl_divergence_to_be_less_than",
        "kwargs": {"column": "letter", "partition_object": partition, "threshold": 0.1},
        "severity": "critical",
        "meta": {"name": "letters", "notes": "The letters are not as they were."},
    }
    suite = Suite(content={"name": "some", "expectations": [expectation], "meta": {"parameters": {}}}, parameters={})
    (finding,) = run_suite(suite, pd.DataFrame({"letter": list("abababab")}), tmp_path / "docs")
    assert finding.check.passed
    assert (tmp_path / "docs" / "index.html").is_file()
