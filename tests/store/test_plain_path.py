import os
from pathlib import Path

import pytest

from ml.store.plain_path import plain_path


@pytest.mark.parametrize("name", ["ho[1]me", "back\\slash", "a*b", "what?"])
def test_a_path_that_is_a_pattern_gets_a_link_to_the_same_place(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "file").write_text("content")
    found = plain_path(folder)
    assert not set(found) & set("*?[]\\")
    assert Path(found, "file").read_text() == "content"
    assert plain_path(folder) == found


def test_any_other_path_stays(tmp_path):
    assert plain_path(tmp_path) == os.fspath(tmp_path)
