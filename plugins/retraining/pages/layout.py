"""How a page looks: templates in one layout, one stylesheet, and what a browser may load for them."""

from functools import cache
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent
# Pages load nothing from the internet, and of scripts only the file in `static`: no text in a page can become one.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(request: Request, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """Render a template of the folder `templates`; every value is escaped.

    A template also knows `root`, the path where the pages begin, and `airflow`, where Airflow's UI does.
    """
    root = request.scope["root_path"]
    places = {"root": root, "airflow": request.scope.get("app_root_path", "").rstrip("/")}
    text = _templates().get_template(template).render(**places, **values)
    return HTMLResponse(text, status_code=status, headers=PAGE_HEADERS)


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
