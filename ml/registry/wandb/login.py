"""W&B's own variables and login, read as its client would find them, without importing it."""

import netrc
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

_PUBLIC_SERVER = "https://api.wandb.ai"
_OLD_MODES = {"dryrun": "offline", "run": "online"}
_YES = {"1", "true", "yes", "on", "t", "y"}


def login_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """WANDB_API_KEY and WANDB_MODE in the form of now, those that are set.

    A key is freed of a line break at its end; without one, it is that of `wandb login`, which netrc keeps.
    WANDB_DISABLED is a mode, and two modes have old names.
    """
    mode = environment.get("WANDB_MODE", "").strip()
    if not mode and environment.get("WANDB_DISABLED", "").strip().lower() in _YES:
        mode = "disabled"
    key = environment.get("WANDB_API_KEY", "").strip() or _key_in_netrc(environment)
    found = {"WANDB_API_KEY": key, "WANDB_MODE": _OLD_MODES.get(mode, mode)}
    return {name: value for name, value in found.items() if value}


def has_login(environment: Mapping[str, str]) -> bool:
    """Whether the client need not ask for a key on the terminal."""
    return bool(environment.get("WANDB_IDENTITY_TOKEN_FILE")) or "WANDB_API_KEY" in login_settings(environment)


def _key_in_netrc(environment: Mapping[str, str]) -> str:
    host = urlsplit(environment.get("WANDB_BASE_URL") or _PUBLIC_SERVER).netloc
    for path in _netrc_files(environment):
        with suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
            entry = netrc.netrc(os.fspath(path)).authenticators(host)
            return entry[2] or "" if entry else ""
    return ""


def _netrc_files(environment: Mapping[str, str]) -> list[Path]:
    """Where the client looks: one place alone if NETRC names it."""
    home = Path(environment.get("HOME") or "/")
    if named := environment.get("NETRC"):
        return [home / named[2:] if named.startswith("~/") else Path(named)]
    return [home / ".netrc", home / "_netrc"]
