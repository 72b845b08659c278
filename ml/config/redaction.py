"""The settings as other people may see them: without passwords, and without folders of this machine."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ml.config import Config, SourceConfig
from ml.config.source_address import public_address

PACKAGE = "package:"
AUTO = "auto"


def public_settings(config: Config) -> dict[str, Any]:
    """Return all settings as plain values, addresses in their public form."""
    settings = asdict(config)
    settings["source"]["uri"] = public_address(config.source.uri)
    settings["encoder"]["source"] = public_name(config.encoder.source)
    if config.score.output != AUTO:
        settings["score"]["output"] = public_address(config.score.output)
    settings["score"]["suite"] = Path(config.score.suite).name
    for suite in ("raw_suite", "splits_suite", "change_suite"):
        settings["validate"][suite] = Path(settings["validate"][suite]).name
    return settings


def public_differences(config: Config, preset: Config) -> dict[str, str]:
    """Return each setting that differs from the preset's, by a name such as `train.epochs`, in its public form."""
    asked, usual = public_settings(config), public_settings(preset)
    return {
        f"{section}.{key}": value if isinstance(value, str) else json.dumps(value)
        for section, settings in asked.items()
        for key, value in settings.items()
        if value != usual[section][key]
    }


def source_name(source: SourceConfig) -> str:
    """Return what the source is called in the lineage: its name, or its address without dates and digits.

    The generated sample bears no other name, so that it cannot pass for anything else.
    """
    scheme, separator, place = public_address(source.uri).partition(":")
    if scheme == "sample":
        return scheme
    if source.name != AUTO:
        return source.name
    without = re.sub("((?<=[0-9])T|[-_.:])*[0-9]+", "", f"{separator}{place}")
    return scheme + re.sub("(?<=[^:/])/+", "/", without)


def public_name(source: str) -> str:
    """Return an encoder's source without credentials and query; of a local folder, only the last part."""
    if source.startswith(PACKAGE):
        return source
    return public_address(source) if "://" in source else Path(source).name
