"""What the environment says of places: an empty variable is an unset one, and `~` is the user's home."""

from collections.abc import Mapping
from pathlib import Path

from ml.errors import ConfigError


def home_of(environment: Mapping[str, str], folder: Path) -> Path:
    """SINCERE_HOME, or `var`; a relative one starts at `folder`. Raises ConfigError if it cannot be known."""
    home = folder.joinpath(expanded(environment.get("SINCERE_HOME") or "var", "SINCERE_HOME"))
    try:
        return home.resolve()
    except (OSError, RuntimeError):
        fix = "mend the symbolic links that lead to each other"
        raise ConfigError("the home cannot be reached", where="SINCERE_HOME", fix=fix) from None


def registry_of(environment: Mapping[str, str], home: Path) -> str:
    """SINCERE_REGISTRY; or the object store of SINCERE_STORE; or a folder in the home."""
    return environment.get("SINCERE_REGISTRY") or environment.get("SINCERE_STORE") or f"file:{home / 'registry'}"


def expanded(path: str, name: str) -> Path:
    """A path with `~` replaced; `name` says whose path it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError("there is no such user", where=name, fix="write the path without ~") from None
