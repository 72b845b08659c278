"""The DAGs that the tests' Airflow knows: two of this kind, and another."""

import re
from collections.abc import Callable
from html import unescape

from fastapi.testclient import TestClient

DAG, ROLLBACK, FOREIGN = "retrain_quora", "rollback_model", "report_sales"

Client = Callable[..., TestClient]


def text_of(page: str, start: str, end: str) -> str:
    """Return what a person reads between two headings."""
    return seen(page[page.index(f">{start}<") + 1 : page.index(f">{end}<")])


def seen(html: str) -> str:
    """Return the text of HTML, without its drawings."""
    return " ".join(unescape(re.sub(r"<svg.*?</svg>|<[^>]*>", " ", html, flags=re.DOTALL)).split())
