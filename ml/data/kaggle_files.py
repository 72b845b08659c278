"""Files of a Kaggle competition: Kaggle's client gives a signed address, the bytes come over plain HTTP."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml.data.download import BrokenOff, transport_errors
from ml.errors import ConfigError


def kaggle_address(competition: str, file: str, *, source: str) -> Callable[[], str]:
    """Asks Kaggle for the signed address of a file each time it is called; raises ConfigError without credentials.

    Uses `kagglesdk`, since importing `kaggle` logs in, prints to stdout and may end the process.
    """
    client = _client()

    def address() -> str:
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFileRequest

        request = ApiDownloadDataFileRequest()
        request.competition_name, request.file_name = competition, file
        with transport_errors(source):
            response = client.competitions.competition_api_client.download_data_file(request)
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
            where="the environment, or the Airflow connection that sets it",
            fix="set KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, and accept the competition's rules once",
        )
    return KaggleClient(username=username, password=key, api_token=token)
