"""Read settings from presets, files and overrides.

A file contains only the settings that differ from those of the file or preset that it extends. An unknown key is an
error.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ml.config import Config, PolicyConfig
from ml.config.environment import expanded
from ml.errors import ConfigError, raise_if_passing

PRESETS = Path(__file__).parent / "presets"
_LONGEST_CHAIN = 10
_LONGEST_VALUE = 60

C = TypeVar("C")


def load_config(name: str, overrides: Iterable[str] = ()) -> Config:
    """Read a preset or a TOML file, then apply the overrides `section.key=value`; raises ConfigError."""
    tree = _read(name)
    for override in overrides:
        _merge(tree, _parse_override(override))
    return read_settings(tree)


def preset_of(name: str) -> str:
    """Return the preset that a file extends in the end; one that extends none has those of `local`."""
    while name.endswith(".toml"):
        name = str(_parse(Path(name).expanduser(), name).get("extends", "local"))
    return name


def read_settings(tree: Any) -> Config:
    """Turn a tree of values into settings; a missing setting has its default. Raises ConfigError."""
    return _validate(Config, tree)


def read_policy(tree: Any) -> PolicyConfig:
    """Turn the values stored with a decision into its policy; raises ConfigError if this code has other settings."""
    return _validate(PolicyConfig, tree, "policy")


def _validate(kind: type[C], tree: Any, *section: str) -> C:
    try:
        return TypeAdapter(kind).validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise _explain(error.errors(include_url=False)[0], *section) from None


def _explain(error: Any, *section: str) -> ConfigError:
    """Turn an error of pydantic into a ConfigError that names the setting; a long value is cut."""
    *parents, key = (*section, *map(str, error["loc"])) or ("settings",)
    name, value = ".".join([*parents, key])[:_LONGEST_VALUE], repr(error["input"])[:_LONGEST_VALUE]
    if error["type"] == "unexpected_keyword_argument":
        known = ", ".join(_known_keys(parents))
        return ConfigError(f"unknown key {name}", where="config", fix=f"known here: {known}")
    if error["type"] in ("dataclass_type", "dict_type"):
        return ConfigError(f"{name} is not a table", where="config", fix=f"write [{name}] and its keys below")
    if {"ge", "le"} & error.get("ctx", {}).keys() or error["type"] == "finite_number":
        return ConfigError(f"{name} = {value} is out of bounds", where="config", fix=error["msg"])
    return ConfigError(f"{name} = {value} cannot be", where="config", fix=error["msg"])


def _known_keys(parents: list[str]) -> list[str]:
    tree: Any = Config()
    for parent in parents:
        tree = getattr(tree, parent)
    return sorted(vars(tree))


def _read(name: str, extended_by: tuple[str, ...] = ()) -> dict[str, Any]:
    if name in extended_by or len(extended_by) == _LONGEST_CHAIN:
        raise ConfigError(f"{Path(name).name} extends itself", where="extends", fix="name a preset there")
    path = PRESETS / f"{name}.toml" if not name.endswith(".toml") else expanded(name, "--config")
    tree = _parse(path, name)
    if "extends" not in tree:
        return tree
    base = tree.pop("extends")
    if not isinstance(base, str):
        raise ConfigError(
            "the value of extends is not text", where=path.name, fix="name a preset or a .toml file there"
        )
    return _merge(_read(base, (*extended_by, name)), tree)


def _parse(path: Path, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        reason = str(error)[:_LONGEST_VALUE]
        raise ConfigError(f"not readable as TOML: {reason}", where=path.name, fix="correct the file") from None
    except OSError as error:
        raise_if_passing(error)
        presets = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.toml")))
        reason = f"cannot be read: {error.strerror}" if isinstance(error, PermissionError) else "does not exist"
        raise ConfigError(
            f"the config {Path(name).name[:_LONGEST_VALUE]!r} {reason}",
            where="--config",
            fix=f"name a preset ({presets}) or a .toml file",
        ) from None


def _merge(tree: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value
    return tree


def _parse_override(override: str) -> dict[str, Any]:
    path, separator, text = override.partition("=")
    if not separator or "." not in path:
        shown = override[:_LONGEST_VALUE]
        raise ConfigError(f"{shown!r} is not an override", where="--set", fix="write section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text
    for key in reversed(path.strip().split(".")):
        value = {key: value}
    return dict(value)
