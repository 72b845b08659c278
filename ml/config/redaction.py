"""The settings as other people may see them: without passwords, and without folders of this machine."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ml.config import Config
from ml.config.source_address import public_address

PACKAGE = "package:"


def public_settings(config: Config) -> dict[str, Any]:
    """Return all settings as plain values, addresses in their public form."""
    settings = asdict(config)
    settings["source"]["uri"] = public_address(config.source.uri)
    settings["encoder"]["source"] = public_name(config.encoder.source)
    for suite in ("raw_suite", "splits_suite"):
        settings["validate"][suite] = Path(settings["validate"][suite]).name
    return settings


def public_name(source: str) -> str:
    """Return an encoder's source without credentials and query; of a local folder, only the last part."""
    if source.startswith(PACKAGE):
        return source
    return public_address(source) if "://" in source else Path(source).name
