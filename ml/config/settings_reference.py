"""Describe the settings: JSON schemas for forms, lines for `--help`, and the page docs/settings.md.

`python -m ml.config.settings_reference > docs/settings.md` writes that page again.
"""

import json
from dataclasses import fields
from functools import cache
from textwrap import dedent
from typing import Any

from pydantic import TypeAdapter

from ml.config import Config
from ml.config.load import PRESETS, load_config

_PAGE = """\
# Settings

Each setting with its default, its bounds and what it is for. A `.toml` file names a preset or another file in `extends`
and holds only what differs; `--set SECTION.KEY=VALUE` changes one setting; an unknown key is an error.
This page is made from the settings themselves: `python -m ml.config.settings_reference > docs/settings.md`.
"""


@cache
def setting_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each setting, by a name such as `train.epochs`: type, bounds, default, description."""
    return {
        f"{section.name}.{key}": schema
        for section in fields(Config)
        for key, schema in _section_schema(section.type)["properties"].items()
    }


def help_lines() -> str:
    """Return a line for each setting: name, default, bounds, description."""
    rows = [
        (name, _shown(_default(schema)), _bounds(schema), schema["description"])
        for name, schema in setting_schemas().items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(
        f"  {name:{widths[0]}}  {default:{widths[1]}}  {description} {f'({bounds})' if bounds else ''}".rstrip()
        for name, default, bounds, description in rows
    )


def settings_page() -> str:
    """Return the text of docs/settings.md: a table for each section, and what each preset changes."""
    sections = [_section(section.name, section.type) for section in fields(Config)]
    return "\n".join([_PAGE, *sections, *_presets()])


def preset_names() -> list[str]:
    """Return the names of the presets; `local`, which has the defaults, comes first."""
    return sorted((path.stem for path in PRESETS.glob("*.toml")), key=lambda name: (name != "local", name))


def _section_schema(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema()


def _section(name: str, kind: Any) -> str:
    rows = [
        f"| `{key}` | {_code(_default(schema))} | {_bounds(schema)} | {schema['description']} |"
        for key, schema in _section_schema(kind)["properties"].items()
    ]
    table = ["| key | default | bounds | what it is |", "|---|---|---|---|", *rows]
    return "\n".join([f"## `[{name}]`", "", " ".join(dedent(kind.__doc__).split()), "", *table, ""])


def _presets() -> list[str]:
    lines = ["## Presets", "", "`local` has the defaults.", ""]
    for preset in preset_names():
        config, schemas = load_config(preset), setting_schemas()
        values = {name: getattr(getattr(config, name.split(".")[0]), name.split(".")[1]) for name in schemas}
        changed = [f"`{name}` = {_code(value)}" for name, value in values.items() if value != _default(schemas[name])]
        lines += [f"`{preset}`: {', '.join(changed)}.", ""] if changed else []
    return lines[:-1]


def _default(schema: dict[str, Any]) -> Any:
    return schema.get("default", {})


def _bounds(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    limits = schema.get("additionalProperties", schema)
    if isinstance(limits, dict) and "minimum" in limits:
        return f"{limits['minimum']:,.15g} to {limits['maximum']:,.15g}"
    return ""


def _code(value: Any) -> str:
    return f"`{_shown(value)}`"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    print(settings_page())
