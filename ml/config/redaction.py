"""What of a config other people may see: nothing that names a folder of this machine, or bears a password."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ml.config import Config
from ml.config.address import public_address

PACKAGE = "package:"


def public_settings(config: Config) -> dict[str, Any]:
    """The whole tree of settings, as plain values."""
    settings = asdict(config)
    settings["source"]["uri"] = public_address(config.source.uri)
    settings["encoder"]["source"] = public_name(config.encoder.source)
    for suite in ("raw_suite", "splits_suite", "change_suite"):
        settings["validate"][suite] = Path(settings["validate"][suite]).name
    return settings


def public_name(source: str) -> str:
    """An encoder's source: no credentials or query, of a folder on this machine only the last part."""
    if source.startswith(PACKAGE):
        return source
    return public_address(source) if "://" in source else Path(source).name
