"""A run of the tests leaves nothing in the folder for temporary files."""

import os
import subprocess
import sys
from pathlib import Path

_TESTS = "from tests import conftest; import tempfile; tempfile.mkdtemp(); conftest.pytest_unconfigure()"


def test_what_tests_leave_is_removed_at_their_end(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    subprocess.run([sys.executable, "-c", _TESTS], env={**kept, "TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []
