"""Which file a run reads or writes: what a trigger names, within bounds, or what production says."""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from airflow.sdk import Connection, Variable
from airflow.sdk.exceptions import AirflowNotFoundException

from retraining import PROJECT
from retraining.model import QUORA, Model

Reader = Callable[[str, Model], str | None]

_CONNECTION = "conn"
_SOURCES = "SINCERE_SOURCES"
_SECRET = re.compile("sig|token|key|secret|pass|pwd|credential|auth", re.IGNORECASE)
# What a source may say of its run's date. No variables and connections: who triggers could send them anywhere.
_DATES = (
    *("ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "logical_date"),
    *("data_interval_start", "data_interval_end"),
)


def production_setting(name: str, model: Model = QUORA) -> str | None:
    """SINCERE_SOURCE or SINCERE_CONFIG, else the Airflow Variable of that name in lower case, else None."""
    variable = model.variable(name)
    return os.environ.get(variable) or Variable.get(variable.lower(), default=None) or None


def common_setting(name: str, model: Model) -> str | None:
    """The model's own setting, else the one for all models."""
    return production_setting(name, model) or production_setting(name)


def shown_setting(name: str, model: Model = QUORA, *, read: Reader = production_setting) -> str | None:
    """The same, for the trigger form, which anybody may read; None where it bears a password, or is not known."""
    try:
        setting = read(name, model)
    except Exception:  # a database that is away must not take the DAG away; the run asks again
        return None
    return None if setting and _bears_secret(setting) else setting


def source_of(params: Mapping[str, Any], name: str = "source", model: Model = QUORA) -> str | None:
    """The source of a run before its date is filled in; raises ConfigError if the trigger may not name it.

    `name` is that of the Param and of production's setting.
    """
    own, asked = production_setting(name, model), params.get(name)
    if asked is None or asked == own:
        return own
    if _bears_secret(asked):
        fix = "write conn://CONNECTION-ID/PATH"
        raise _refused("a source may not bear a password, a key or a signature", fix, what=name)
    _refuse_unlisted(asked, name)
    return str(asked)


def output_of(params: Mapping[str, Any], model: Model = QUORA) -> str | None:
    """Where a run's scored rows go, before its date is filled in; raises ConfigError if the trigger may not name it.

    Where SINCERE_SOURCES limits what a trigger reads, it writes only below what SINCERE_SCORE_OUTPUTS lists.
    """
    own, asked = production_setting("score_output", model), params.get("output")
    if asked is None or asked == own:
        return own
    if _bears_secret(asked):
        raise _refused("an output may not bear a password", "set the credentials of the bucket", what="output")
    _refuse_unlisted(asked, "output", listed_by="SINCERE_SCORE_OUTPUTS")
    return str(asked)


def refuse_config(params: Mapping[str, Any], model: Model = QUORA) -> None:
    """Raise ConfigError if a trigger names a file of settings that it may not name."""
    config = params.get("config")
    if isinstance(config, str) and config.endswith(".toml") and config != production_setting("config", model):
        _refuse_unlisted(config, "config")


def with_date(source: str, environment: Any, context: Mapping[str, Any]) -> str:
    """Fill in the run's date by Airflow's templating; raises ConfigError where there is none."""
    from airflow.sdk.execution_time import macros
    from jinja2 import StrictUndefined, TemplateError

    if "{{" not in source and "{%" not in source:
        return source
    dates = {name: context[name] for name in _DATES if context.get(name) is not None}
    dates |= {"run_after": getattr(context["dag_run"], "run_after", None)}
    try:
        return str(
            environment.overlay(undefined=StrictUndefined)
            .from_string(source)
            .render(dates, macros={"ds_add": macros.ds_add, "ds_format": macros.ds_format})
        )
    except (TemplateError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError):
        raise _refused(
            "the source's date cannot be filled in: the run has no logical date, or the template is wrong",
            f"trigger the run with a logical date, or use only run_after, or of the dates {', '.join(_DATES)}",
        ) from None


def with_credentials(source: str) -> str:
    """`conn://ID/PATH` as the address that Airflow's connection ID has, with its login and password."""
    if not source.startswith(f"{_CONNECTION}://"):
        return source
    conn_id, _, path = source.removeprefix(f"{_CONNECTION}://").partition("/")
    try:
        connection = Connection.get(conn_id)
    except AirflowNotFoundException:
        raise _refused("there is no such connection", "add it in Airflow, or correct its id in the source") from None
    scheme, separator, host = (connection.host or "").rpartition("://")
    if not separator:
        scheme = connection.schema or (connection.conn_type if connection.conn_type in ("http", "https") else "https")
    user = ":".join(quote(part, safe="") for part in (connection.login, connection.password) if part)
    port = f":{connection.port}" if connection.port else ""
    return f"{scheme}://{user}{'@' if user else ''}{host.rstrip('/')}{port}/{path}"


def _bears_secret(source: str) -> bool:
    """Whether an address has a login, or a parameter that is a secret by its name."""
    if "://" not in source:
        return False
    _, _, rest = source.partition("://")
    place, _, query = rest.partition("?")
    return "@" in place.partition("/")[0] or any(_SECRET.search(name) for name, _ in parse_qsl(query))


def _refuse_unlisted(asked: str, what: str, *, listed_by: str = _SOURCES) -> None:
    prefixes = _prefixes(listed_by)
    if (prefixes or _prefixes(_SOURCES)) and not any(_is_below(asked, prefix) for prefix in prefixes):
        raise _refused(
            f"a trigger may not name this {what}", f"name one with a prefix that {listed_by} lists", what=what
        )


def _prefixes(variable: str) -> list[str]:
    return [prefix for prefix in re.split(r"[,\s]+", os.environ.get(variable, "")) if prefix]


def _is_below(asked: str, prefix: str) -> bool:
    """Whether an address is the prefix or below it, however it is written."""
    asked, prefix = _plain(asked), _plain(prefix)
    if ".." in unquote(asked).split("/"):
        return False
    return asked == prefix or asked.startswith(prefix if prefix[-1:] in ("/", ":") else f"{prefix}/")


def _plain(address: str) -> str:
    """A local path with its links followed; any other address with its scheme and host in small letters."""
    from ml.config.source_address import local_path

    if address.startswith("file:") or not re.match("[A-Za-z][A-Za-z0-9+.-]+:", address):
        try:
            path = str(PROJECT.joinpath(local_path(address)).resolve())
        except (RuntimeError, ValueError, OSError):
            return address
        return f"{path}/" if address.endswith("/") else path
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{separator}{host.lower()}{slash}{path}"


def _refused(problem: str, fix: str, *, what: str = "source") -> Exception:
    from ml.errors import ConfigError

    return ConfigError(problem, where=f"the run's {what}", fix=fix)
