"""`make secrets`: write `.env` with generated secrets for docker-compose.yaml, once.

It needs the standard library only: a machine that runs containers has none of the project's packages.
"""

import base64
import os
import sys
import tempfile
from pathlib import Path
from secrets import token_bytes, token_hex, token_urlsafe

_NOTE = """\
# Written by `make secrets`, and read by Docker Compose. Keep a copy where secrets are kept: without
# POSTGRES_PASSWORD and AIRFLOW_FERNET_KEY a backup of the database cannot be read.
"""


def generated() -> dict[str, str]:
    """Return a new value for each secret that docker-compose.yaml asks for."""
    return {
        "POSTGRES_PASSWORD": token_hex(24),
        "AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(token_bytes(32)).decode(),
        "AIRFLOW_JWT_SECRET": token_urlsafe(64),
        "AIRFLOW_SECRET_KEY": token_urlsafe(32),
        "AIRFLOW_ADMIN_PASSWORD": token_urlsafe(16),
    }


def write_once(path: Path, text: str) -> bool:
    """Write a file that its owner alone may read, whole or not at all; return False if there is one already."""
    descriptor, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # of mode 0600
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.link(beside, path)  # which, unlike a rename, never replaces one
    except FileExistsError:
        return False
    finally:
        beside.unlink()
    return True


def missing_from(path: Path) -> list[str]:
    """Return the names of the secrets that a file does not set."""
    lines = path.read_text(encoding="utf-8").splitlines()
    given = {line.partition("=")[0].strip() for line in lines if line.partition("=")[2].strip()}
    return sorted(generated().keys() - given)


def main(folder: Path) -> int:
    """Write the file, or say that it is there; return 1 if one that is there lacks a secret."""
    path = folder / ".env"
    lines = [f"{name}={value}" for name, value in generated().items()]
    if write_once(path, "\n".join([_NOTE + lines[0], *lines[1:], ""])):
        print("Wrote .env with generated secrets, readable by you alone. Next: docker compose up --detach --wait")
        print("The user is admin, the password is AIRFLOW_ADMIN_PASSWORD in .env.")
        return 0
    missing = missing_from(path)
    if missing:
        print(
            f".env is there, and stays as it is, but does not set {', '.join(missing)}: add what is missing",
            file=sys.stderr,
        )
        return 1
    print(".env is there, with all secrets, and stays as it is. Next: docker compose up --detach --wait")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
