"""Read an address: `wandb://entity/project/model-name?link=REGISTRY/COLLECTION&timeout_seconds=60`."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from ml.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LINK = re.compile(r"wandb-registry-[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a model's versions are. W&B has `timeout_seconds` for an answer, `transfer_seconds` for an upload.

    `link` is a collection of the W&B Registry in which the alias is set too; "" if there is none.
    """

    entity: str
    project: str
    model: str
    link: str = ""
    timeout_seconds: float = 60.0
    transfer_seconds: float = 3600.0

    @property
    def where(self) -> str:
        """The address as error messages name it."""
        return f"W&B, {self.entity}/{self.project}/{self.model}"


def parse_address(url: str) -> Address:
    """Read the address from a URL; raises ConfigError if the URL does not have this form."""
    parts = urlsplit(url)
    names = [parts.netloc, *parts.path.strip("/").split("/")]
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if len(names) != len(("entity", "project", "model")) or not all(map(_NAME.fullmatch, names)):
        raise _unreadable("it does not name an entity, a project and a model")
    if options.keys() - {"link", "timeout_seconds", "transfer_seconds"}:
        raise _unreadable("after the question mark stand link, timeout_seconds and transfer_seconds, or nothing")
    if not _LINK.fullmatch(options.get("link", "wandb-registry-model/model")):
        raise _unreadable("the link is not wandb-registry-REGISTRY/COLLECTION")
    return Address(
        entity=names[0],
        project=names[1],
        model=names[2],
        link=options.pop("link", ""),
        **{name: _seconds(name, text) for name, text in options.items()},
    )


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise _unreadable(f"{name} is not a number") from None
    if not 0 < seconds <= 24 * 3600:
        raise _unreadable(f"{name} is not between 0 and a day")
    return seconds


def _unreadable(what: str) -> ConfigError:
    return ConfigError(
        f"the registry's address cannot be read: {what}",
        where="SINCERE_REGISTRY",
        fix="write wandb://entity/project/model-name, and ?link=wandb-registry-model/COLLECTION if you want",
    )
