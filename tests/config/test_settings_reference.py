"""The bounds and the help of each setting are written once and shown everywhere."""

from pathlib import Path

from ml.config.settings_reference import help_lines, preset_names, setting_schemas, settings_page

PROJECT = Path(__file__).parents[2]


def test_each_setting_says_what_it_is():
    assert [name for name, schema in setting_schemas().items() if not schema.get("description")] == []


def test_a_schema_has_type_bounds_default_and_description():
    schema = setting_schemas()["train.epochs"]
    assert {key: schema[key] for key in ("type", "minimum", "maximum", "default", "description")} == {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "default": 2,
        "description": "Passes over the training rows, at most.",
    }


def test_help_has_a_line_for_each_setting():
    lines = help_lines().splitlines()
    assert len(lines) == len(setting_schemas())
    (epochs,) = [line for line in lines if line.startswith("  train.epochs ")]
    assert epochs.split() == [
        "train.epochs",
        "2",
        "Passes",
        "over",
        "the",
        "training",
        "rows,",
        "at",
        "most.",
        "(1",
        "to",
        "100)",
    ]


def test_the_page_in_the_docs_is_that_of_the_settings():
    written = (PROJECT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == settings_page() + "\n", "python -m ml.config.settings_reference > docs/settings.md"


def test_the_preset_with_the_defaults_comes_first():
    assert preset_names() == ["local", "bert-base"]
