"""W&B's own variables and login are read as its client would."""

import os
import subprocess
import sys

import pytest

from ml.registry.wandb.login import has_login, login_settings
from ml.tracking import NoTracker, open_tracker
from tests.doomed import PROJECT
from tests.wandb_server import KEY


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({"WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "run"}, "online"),
        ({"WANDB_MODE": " offline\n"}, "offline"),
        ({"WANDB_DISABLED": "true"}, "disabled"),
        ({"WANDB_DISABLED": "1"}, "disabled"),
        ({"WANDB_DISABLED": "false"}, None),
        ({"WANDB_DISABLED": "true", "WANDB_MODE": "online"}, "online"),
        ({"WANDB_DISABLED": ""}, None),
        ({}, None),
    ],
)
def test_old_names_of_a_mode_are_understood_and_a_mode_is_stronger_than_a_switch(variables, mode, tmp_path):
    assert login_settings({"HOME": str(tmp_path), **variables}).get("WANDB_MODE") == mode


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r\n", f" {KEY}"], ids=["a newline", "Windows", "a space"])
def test_a_key_is_freed_of_white_space(key, tmp_path):
    assert login_settings({"HOME": str(tmp_path), "WANDB_API_KEY": key}) == {"WANDB_API_KEY": KEY}


def login(folder, host):
    folder.write_text(f"machine other.example login user password another\nmachine {host} login user password {KEY}\n")


@pytest.mark.parametrize(
    ("file", "host", "variables"),
    [
        (".netrc", "api.wandb.ai", {}),
        ("_netrc", "api.wandb.ai", {}),
        (".netrc", "wandb.example:8443", {"WANDB_BASE_URL": "https://wandb.example:8443/"}),
        ("mine", "api.wandb.ai", {"NETRC": "~/mine"}),
        (".netrc", "api.wandb.ai", {"WANDB_API_KEY": " "}),
    ],
)
def test_a_login_of_wandbs_tool_is_found_where_it_keeps_it(file, host, variables, tmp_path):
    login(tmp_path / file, host)
    environment = {"HOME": str(tmp_path), **variables}
    assert has_login(environment)
    assert login_settings(environment) == {"WANDB_API_KEY": KEY}


@pytest.mark.parametrize(
    "content", [b"machine api.wandb.ai login", b"\xff\xfe", b"machine wandb.example login a password b"]
)
def test_a_netrc_that_is_broken_or_of_another_server_is_no_login(content, tmp_path):
    (tmp_path / ".netrc").write_bytes(content)
    assert not has_login({"HOME": str(tmp_path)})


def test_who_has_switched_it_off_or_has_no_login_is_not_tracked(tmp_path):
    for variables in (
        {"WANDB_API_KEY": KEY, "WANDB_DISABLED": "true"},
        {"WANDB_API_KEY": KEY, "WANDB_MODE": "disabled"},
        {},
    ):
        environment = login_settings({"HOME": str(tmp_path), **variables})
        assert isinstance(open_tracker(environment, tmp_path), NoTracker)


OPEN = """
import sys
from pathlib import Path
from ml.registry.open import open_registry
from ml.store import Store
print(open_registry("wandb://acme/quora/insincere", Store(Path(sys.argv[1]))).resolve("production"))
"""


def test_a_process_whose_first_word_to_wandb_bears_a_key_with_a_newline_is_let_in(wandb_server, tmp_path):
    environment = {**os.environ, "WANDB_API_KEY": f"{KEY}\n"}
    command = [sys.executable, "-c", OPEN, str(tmp_path)]
    ended = subprocess.run(command, cwd=PROJECT, env=environment, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "NoChampion(record='NoChampion')\n"), ended.stderr
