"""What of a worker's environment a step is given: nothing that Airflow keeps for itself."""

import re
from collections.abc import Mapping

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

_NAMES = {
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "TZ", "LANG", "LANGUAGE", "TERM", "COLUMNS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY", "NETRC", "ML_PYTHON", "VIRTUAL_ENV"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "STORAGE_EMULATOR_HOST", "LD_LIBRARY_PATH", "LD_PRELOAD"),
    *("SOURCE_DATE_EPOCH", "NO_COLOR", "MPLCONFIGDIR", "GCE_METADATA_HOST"),
}
_PREFIXES = re.compile(
    "LC_|SINCERE_|PYTHON|AWS_|GOOGLE_|GCSFS_|CLOUDSDK_|KAGGLE_|WANDB_|TFHUB_|TF_|XLA_|CUDA|CUDNN_|NVIDIA_|NCCL_|OMP_|"
    "KMP_|GOMP_|MKL_|OPENBLAS_|ONEDNN_|DNNL_|MALLOC_|SSL_CERT_|GX_|FSSPEC_|XDG_|GRPC_"
)

Fields = Mapping[str, str]

# What the clients of the sources read, from which field of which connection.
SOURCE_CONNECTIONS: dict[str, Fields] = {
    "kaggle_default": {"KAGGLE_USERNAME": "login", "KAGGLE_KEY": "password"},
    "aws_default": {
        "AWS_ACCESS_KEY_ID": "login",
        "AWS_SECRET_ACCESS_KEY": "password",
        "AWS_SESSION_TOKEN": "aws_session_token",
        "AWS_DEFAULT_REGION": "region_name",
        "AWS_ENDPOINT_URL": "endpoint_url",
    },
    "google_cloud_default": {"GOOGLE_APPLICATION_CREDENTIALS": "key_path"},
}

_OBJECT_STORES = ("aws_default", "google_cloud_default")


def store_connections(environment: Mapping[str, str]) -> dict[str, Fields]:
    """The connections of the object store that has the state, if one has: each step needs them."""
    return {name: SOURCE_CONNECTIONS[name] for name in _OBJECT_STORES} if environment.get("SINCERE_STORE") else {}


def allowed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a step may need; docs/operations.md lists them."""
    return {
        name: value for name, value in environment.items() if name.upper() in _NAMES or _PREFIXES.match(name.upper())
    }


def from_connections(connections: Mapping[str, Fields]) -> dict[str, str]:
    """Variables from the fields of Airflow's connections; a connection or a field that is empty gives none.

    `connections` has, for each connection id, the field for each variable; a field may also be one of the extras.
    """
    found: dict[str, str] = {}
    for conn_id, fields in connections.items():
        try:
            connection = Connection.get(conn_id)
        except AirflowNotFoundException:
            continue
        found |= {name: value for name, field in fields.items() if (value := _field(connection, field))}
    return found


def _field(connection: Connection, name: str) -> str:
    return str(getattr(connection, name, None) or connection.extra_dejson.get(name) or "")
