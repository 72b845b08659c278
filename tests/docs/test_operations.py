"""docs/operations.md has a row for each error, exit status, alarm and fault: it cannot fall behind."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.errors import SincereError
from ml.report.words.notices import EVENTS

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
NAMED_TEST = re.compile(r"`(test_\w+)`")


def rows(heading: str) -> list[list[str]]:
    """The cells of all tables in a section of the page."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def errors(kind: type[SincereError] = SincereError) -> Iterator[type[SincereError]]:
    """All kinds that a person may meet; one that a module has for itself is told as its parent."""
    if kind.__module__ == SincereError.__module__:
        yield kind
    for each in kind.__subclasses__():
        yield from errors(each)


@pytest.mark.parametrize("error", list(errors()), ids=lambda error: error.__name__)
def test_each_error_has_a_row_with_its_exit_status_and_what_to_do(error: type[SincereError]) -> None:
    found = [row for row in rows("What is tried again, and what waits for a person") if f"`{error.__name__}`" in row[1]]
    assert [row[0] for row in found] == [str(error.exit_status)]
    assert found[0][3]


def test_each_alarm_has_a_row_with_what_to_do() -> None:
    told = {row[0].strip("`"): row[2:] for row in rows("Alarms")}
    assert [event for event in EVENTS if not all(told.get(event, [""]))] == []


def test_each_fault_has_a_row_that_names_its_test_and_each_of_these_tests_exists() -> None:
    named = {name for row in rows("Faults") for name in NAMED_TEST.findall(row[-1])}
    for file in ("test_faults.py", "test_store.py"):
        assert named >= functions(PROJECT / "tests" / "containers" / file)
    assert named <= set().union(*map(functions, (PROJECT / "tests").rglob("test_*.py")))


def functions(file: Path) -> set[str]:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return {each.name for each in body if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")}


def test_each_link_into_the_page_leads_to_a_heading() -> None:
    slugs = {
        re.sub(r"[^\w -]", "", line[3:]).lower().replace(" ", "-") for line in PAGE.splitlines() if line[:3] == "## "
    }
    pages = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    asked = {
        slug for page in pages for slug in re.findall(r"operations\.md#([\w-]+)", page.read_text(encoding="utf-8"))
    }
    assert asked | set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= slugs
