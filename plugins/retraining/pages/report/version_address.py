"""Where a version is: its registry's address, and its page in W&B, if the registry is there."""

import os
from typing import NamedTuple
from urllib.parse import quote

from ml.errors import SincereError
from ml.registry.wandb.address import parse_address
from retraining.model import Model
from retraining.pages.champion.place import place_of

_WANDB = "https://api.wandb.ai"


class VersionAddress(NamedTuple):
    """The registry as a person calls it, and the addresses of the version's pages: of none or one."""

    registry: str
    pages: list[str]


def version_address(model: Model, version: str) -> VersionAddress:
    """Return where a version of the model is; it has no secret."""
    try:
        home, address, store = place_of(model)
        if address.startswith("wandb:"):
            return VersionAddress(address.partition("?")[0], [_page(address, version)])
    except SincereError:
        return VersionAddress("the registry", [])
    if address == store:
        return VersionAddress("the registry in the object store", [])
    is_usual = address == f"file:{home / 'registry'}"
    return VersionAddress("the registry in the home" if is_usual else f"what {model.variable('registry')} names", [])


def _page(address: str, version: str) -> str:
    at = parse_address(address)
    host = (os.environ.get("WANDB_BASE_URL") or _WANDB).rstrip("/").replace("//api.", "//")
    names = "/".join(quote(name, safe="") for name in (at.entity, at.project, "artifacts", "model", at.model, version))
    return f"{host}/{names}"
