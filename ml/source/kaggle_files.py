"""Files of a Kaggle competition: Kaggle's client gets a signed address, then the file is downloaded over HTTP."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

import requests

from ml.config import SourceConfig
from ml.errors import ConfigError, DataError
from ml.source.download import BrokenOff, check_status, transport_errors

_CREDENTIALS = "the environment, or the Airflow connection that sets it"


def kaggle_address(competition: str, file: str, config: SourceConfig, *, source: str) -> Callable[[], str]:
    """Return a function that asks Kaggle for a file's signed address; raises ConfigError without credentials.

    It uses `kagglesdk`, since importing `kaggle` logs in, prints to stdout and may end the process.
    """
    client = _client()
    download = client.competitions.competition_api_client.download_data_file

    def address() -> str:
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFileRequest

        request = ApiDownloadDataFileRequest()
        request.competition_name, request.file_name = competition, file
        with transport_errors(source):
            try:
                response = _within(config.timeout_seconds, lambda: download(request))
            except requests.HTTPError as error:
                raise _refusal(error.response, competition, source) from None
            response.close()
        if not response.history:
            raise BrokenOff("Kaggle named no download address")
        return str(response.url)

    return address


def _client() -> Any:
    from kagglesdk.kaggle_client import KaggleClient
    from kagglesdk.kaggle_env import get_access_token_from_env

    token, _ = get_access_token_from_env()
    username, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    in_file = Path("~/.kaggle/kaggle.json").expanduser().is_file()
    if not (token or (username and key) or in_file):
        raise ConfigError(
            "there are no Kaggle credentials",
            where=_CREDENTIALS,
            fix="set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, and accept the competition's rules once",
        )
    return KaggleClient(username=username, password=key, api_token=token, user_agent="sincere")


def _within(seconds: float, ask: Callable[[], Any]) -> Any:
    """Call `ask` in a thread, since Kaggle's client has no timeout; raises BrokenOff if it takes too long."""
    answer: Future[Any] = Future()
    Thread(target=_settle, args=(answer, ask), daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise BrokenOff("Kaggle did not answer in time") from None


def _settle(answer: "Future[Any]", ask: Callable[[], Any]) -> None:
    try:
        answer.set_result(ask())
    except BaseException as error:
        answer.set_exception(error)


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
