"""Sends a notice to those whom SINCERE_NOTIFY names, by Apprise, through Airflow's connections."""

import logging
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from airflow.sdk.exceptions import AirflowNotFoundException

from retraining.model import QUORA, Model
from retraining.source import common_setting

if TYPE_CHECKING:
    from apprise import Apprise

_SECONDS = 8  # below core.task_success_overtime, after which Airflow ends a task that has succeeded
_LONGEST_REASON = 200
_ALL = "all"
_KIND = {
    "promoted": "success",
    "kept": "info",
    "inconclusive": "info",
    "unchanged": "info",
    "rolled_back": "info",
    "failed": "failure",
}

logger = logging.getLogger(__name__)


class _Channel(NamedTuple):
    """What a connection's addresses lead to."""

    name: str
    addresses: Sequence[str]
    apprise: "Apprise"


def send(event: str, lines: Sequence[str], model: Model = QUORA) -> None:
    """Send the lines, the first one as title, to all whom the setting names for this event; without it, to nobody.

    Whatever goes wrong with a channel is one warning. The sending takes `_SECONDS` at most.
    """
    channels = [channel for name in recipients(_setting(model), event) for channel in _open(name)]
    if not channels:
        return
    with ThreadPoolExecutor(len(channels)) as pool, _without_apprises_log():
        said = list(pool.map(lambda channel: _said_of_failure(channel, event, lines), channels))
    for channel, failure in zip(channels, said, strict=True):
        if failure:
            _warn(channel.name, failure)


def recipients(setting: str, event: str) -> Sequence[str]:
    """The connections for an event, of a setting like `promoted,failed=slack_team; all=archive`.

    A part that cannot be read is left out, and named in one warning.
    """
    from ml.report.words.notices import EVENTS

    found: list[str] = []
    wrong: list[str] = []
    for part in filter(None, map(str.strip, re.split(r"[;\n]", setting))):
        events, connections = (_names(side) for side in part.partition("=")[::2])
        if not events or not connections:
            wrong.append(f"{part[:40]!r} is not EVENTS=CONNECTIONS")
            continue
        wrong += [f"unknown event {name[:40]!r}" for name in events if name not in (*EVENTS, _ALL)]
        if event in events or _ALL in events:
            found += connections
    if wrong:
        logger.warning("SINCERE_NOTIFY: %s; the events are %s", "; ".join(wrong), ", ".join((_ALL, *EVENTS)))
    return list(dict.fromkeys(found))


def _names(text: str) -> Sequence[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _setting(model: Model) -> str:
    try:
        return common_setting("notify", model) or ""
    except Exception as error:  # a database that is away must not take the task away
        logger.warning("the setting sincere_notify cannot be read (%s): nobody is told", type(error).__name__)
        return ""


def _open(name: str) -> Iterator[_Channel]:
    """The channel of a connection of the type Apprise, if all of its addresses can be read."""
    from airflow.providers.apprise.hooks.apprise import AppriseHook
    from airflow.sdk.log import mask_secret
    from apprise import Apprise

    apprise, hook = Apprise(), AppriseHook(name)
    try:
        connection = hook.get_connection(name)
        addresses = _addresses(hook.get_config_from_conn(connection))
        for address in addresses:
            mask_secret(address)
        with _without_apprises_log():
            hook.set_config_from_conn(connection, apprise)
    except AirflowNotFoundException:
        return _warn(name, "there is no such connection")
    except (KeyError, TypeError, ValueError):
        return _warn(name, 'its field config is no {"path": ADDRESS}')
    except Exception as error:  # no notice is worth a run
        return _warn(name, f"it cannot be opened ({type(error).__name__})")
    if len(apprise) != len(addresses):
        return _warn(name, "Apprise cannot read its address")
    yield _Channel(name, addresses, apprise)


def _addresses(config: Any) -> Sequence[str]:
    return [each["path"] for each in (config if isinstance(config, list) else [config])]


def _said_of_failure(channel: _Channel, event: str, lines: Sequence[str]) -> str:
    """Send the lines; return why it failed, or nothing."""
    from apprise import NotifyFormat, NotifyType

    title, *body = lines
    result = channel.apprise.notify(
        title=title,
        body="\n".join(body),
        notify_type=NotifyType(_KIND.get(event, "warning")),
        body_format=NotifyFormat.TEXT,
        timeout=_SECONDS,
    )
    if result:
        return ""
    said = [entry.message for service in result for entry in service.logs()]
    return _redacted(said[0] if said else f"no answer after {_SECONDS} s", channel.addresses)


def _redacted(message: str, addresses: Sequence[str]) -> str:
    """The message without any part of the addresses."""
    parts = re.findall(r"[\w.-]{3,}", " ".join((*addresses, *map(unquote, addresses))))
    for part in sorted(set(parts), key=len, reverse=True):
        message = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "***", message)
    return message[:_LONGEST_REASON]


@contextmanager
def _without_apprises_log() -> Iterator[None]:
    """Keep Apprise and its HTTP client quiet: their logs quote addresses, which have the secrets in them."""
    apprise, http = logging.getLogger("apprise"), logging.getLogger("urllib3")
    before = apprise.propagate, apprise.level, http.level
    apprise.propagate = False
    apprise.setLevel(logging.WARNING)
    http.setLevel(logging.WARNING)
    try:
        yield
    finally:
        apprise.propagate = before[0]
        apprise.setLevel(before[1])
        http.setLevel(before[2])


def _warn(name: str, problem: str) -> None:
    logger.warning("nobody is told by the connection %s: %s", name, problem)
