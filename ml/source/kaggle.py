"""Files of a Kaggle competition: Kaggle's client gets a signed address, then the file is downloaded over HTTP."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from ml.config import SourceConfig
from ml.errors import ConfigError, DataError, raise_if_passing
from ml.source.download import BrokenOff, NotInTime, within
from ml.source.web import check_status, transport_errors

_CREDENTIALS = "the environment, or the Airflow connection that sets it"
_LONGEST_PATH = 255


def kaggle_address(competition: str, file: str, config: SourceConfig, *, source: str) -> Callable[[], str]:
    """Return a function that asks Kaggle for a file's signed address; raises ConfigError without credentials.

    It uses `kagglesdk`, since importing `kaggle` logs in, prints to stdout and may end the process.
    """
    signed_in = _sign_in()

    def address() -> str:
        with transport_errors(source):
            try:
                response = within(config.timeout_seconds, lambda: _ask(signed_in(), competition, file))
            except NotInTime:
                raise BrokenOff("Kaggle did not answer in time") from None
            except requests.HTTPError as error:
                raise _refusal(error.response, competition, source) from None
            except (requests.exceptions.InvalidJSONError, LookupError, TypeError, AttributeError):
                raise BrokenOff("Kaggle's answer cannot be read") from None
            response.close()
        if not response.history:
            raise BrokenOff("Kaggle named no download address")
        return str(response.url)

    return address


def _ask(client: Any, competition: str, file: str) -> Any:
    from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFileRequest

    request = ApiDownloadDataFileRequest()
    request.competition_name, request.file_name = competition, file
    return client.competitions.competition_api_client.download_data_file(request)


def _sign_in() -> Callable[[], Any]:
    """Return a function that gives Kaggle's client, with the credentials that Kaggle's own tool would take first."""
    if token := _access_token():
        return _client_giver(api_token=token)
    username, key = _api_key()
    if username and key:
        return _client_giver(username=username, password=key)
    if credentials := _oauth_credentials():
        return lambda: _client(api_token=_oauth_token(credentials))
    raise ConfigError(
        "there are no Kaggle credentials",
        where=_CREDENTIALS,
        fix="set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, and accept the competition's rules once",
    )


def _client_giver(**credentials: str) -> Callable[[], Any]:
    client = _client(**credentials)
    return lambda: client


def _client(**credentials: str) -> Any:
    from kagglesdk.kaggle_client import KaggleClient

    if not all(secret.isascii() and secret.isprintable() for secret in credentials.values()):
        raise _unreadable("the Kaggle credentials", "copy them again: they hold letters that none have")
    return KaggleClient(user_agent="sincere", **credentials)


def _access_token() -> str:
    """Return the token from KAGGLE_API_TOKEN, or from a file named there, or from Kaggle's own files; "" if none."""
    from kagglesdk.kaggle_env import get_access_token_from_env

    named = os.environ.get("KAGGLE_API_TOKEN", "").strip()
    if named:
        return _text(Path(named)) if len(named) <= _LONGEST_PATH and Path(named).is_file() else named
    try:
        token, _ = get_access_token_from_env()
    except (OSError, ValueError) as error:
        raise_if_passing(error)
        raise _unreadable("Kaggle's access_token", "make a new one in the account's settings at Kaggle") from None
    return (token or "").strip()


def _api_key() -> tuple[str, str]:
    """Return username and key from the environment or from kaggle.json; "" for one that is not there."""
    file = _config_folder() / "kaggle.json"
    kept = _json(file) if file.is_file() else {}
    names = (("KAGGLE_USERNAME", "username"), ("KAGGLE_KEY", "key"))
    username, key = ((os.environ.get(name) or str(kept.get(field, ""))).strip() for name, field in names)
    return username, key


def _config_folder() -> Path:
    """Return the folder of Kaggle's own tool: KAGGLE_CONFIG_DIR, ~/.kaggle, or kaggle in XDG_CONFIG_HOME."""
    if named := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(named).expanduser()
    home = Path("~/.kaggle").expanduser()
    if home.exists():
        return home
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "kaggle"


def _oauth_credentials() -> Any:
    """Return what `kaggle auth login` wrote to credentials.json, or None."""
    from kagglesdk.kaggle_client import KaggleClient
    from kagglesdk.kaggle_creds import KaggleCredentials

    try:
        return KaggleCredentials.load(client=KaggleClient(user_agent="sincere"))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise_if_passing(error)
        raise _unreadable("Kaggle's credentials.json", "log in again: kaggle auth login") from None


def _oauth_token(credentials: Any) -> str:
    """Return a valid token; one that was renewed is used even if credentials.json cannot be written."""
    try:
        return str(credentials.get_access_token())
    except requests.RequestException:
        raise
    except OSError:
        return str(credentials.get_access_token())


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(file))
    except ValueError:
        content = ()
    if not isinstance(content, dict):
        raise _unreadable("Kaggle's kaggle.json", "download it again from the account's settings at Kaggle")
    return content


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise_if_passing(error)
        raise _unreadable(
            f"the file {file.name} with Kaggle's credentials", "see whether this user may read it"
        ) from None


def _unreadable(what: str, fix: str) -> ConfigError:
    return ConfigError(f"{what} cannot be read", where=_CREDENTIALS, fix=fix)


def _refusal(response: requests.Response, competition: str, source: str) -> Exception:
    status = _status(response)
    if status == requests.codes.unauthorized:
        return ConfigError(
            "Kaggle does not accept the credentials (HTTP status 401)",
            where=_CREDENTIALS,
            fix="make a new token in the account's settings at Kaggle and set KAGGLE_API_TOKEN",
        )
    if status == requests.codes.forbidden:
        return DataError(
            "Kaggle forbids the download (HTTP status 403)",
            where=source,
            fix=f"accept the rules at https://www.kaggle.com/competitions/{competition}/rules with the same account",
        )
    check_status(status, source)
    return BrokenOff(f"HTTP status {status}")


def _status(response: requests.Response) -> int:
    """Return the status of an error; Kaggle may send it as a code in JSON, with the HTTP status 200."""
    if response.ok:
        return int(response.json()["code"])
    return response.status_code
