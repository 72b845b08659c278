"""The command line from end to end, with a tiny encoder: what people type, what they read, which files remain."""

import csv
import errno
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ml.cli import main
from ml.records import RawSnapshot, read_any
from ml.source.sample import write_sample
from ml.store.files import tree_digest
from tests.forked_python import serving_by
from tests.places import ADDRESSES
from tests.state_server import ROOT
from tests.tiny import write_tiny_config

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory, python):
    """Make a folder with rows, a config for a tiny encoder, and a home with a champion."""
    folder = tmp_path_factory.mktemp("cli")
    write_sample(folder / "rows.csv", rows=1500, seed=1)
    write_tiny_config(folder)
    with serving_by(python), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINCERE_HOME", str(folder / "home"))
        assert _run(folder, "first") == 0
    return folder


@pytest.fixture(autouse=True)
def home(place, monkeypatch):
    monkeypatch.setenv("SINCERE_HOME", str(place / "home"))
    return place / "home"


def _run(place: Path, run_id: str, source: str = "rows.csv") -> int:
    return main(["run", "--config", str(place / "tiny.toml"), "--source", str(place / source), "--run-id", run_id])


def _champion(home: Path) -> str:
    return json.loads((home / "registry" / "aliases.json").read_text())["versions"]["production"]


def test_a_first_run_crowns_a_champion(home):
    assert _champion(home) == "v1"


def test_the_verdict_is_printed_with_its_checks_and_figures(capsys):
    assert main(["verdict"]) == 0
    printed = capsys.readouterr().out
    for expected in ("PROMOTE: ", "precision floor", "average precision", "report: reports/first/evaluation.html"):
        assert expected in printed


def test_the_reports_of_a_run_stay(home):
    reports = home / "reports" / "first"
    for page in ("evaluation.html", "exploration.html", "data_docs_splits/index.html", "data_docs/index.html"):
        assert (reports / page).is_file(), page


def test_one_question_gets_a_probability_and_a_label(capsys):
    assert main(["predict", "--text", "Why is the sky blue?"]) == 0
    name, probability, label_name, label = capsys.readouterr().out.split()
    assert (name, label_name) == ("probability", "label")
    assert 0 <= float(probability) <= 1
    assert label in "01"


def test_ten_thousand_rows_stream_through_in_their_order(tmp_path):
    write_sample(tmp_path / "questions.csv", rows=10_000, seed=7)
    assert main(["predict", "--input", str(tmp_path / "questions.csv"), "--output", str(tmp_path / "out.csv")]) == 0
    with (tmp_path / "questions.csv").open(newline="") as asked, (tmp_path / "out.csv").open(newline="") as answered:
        questions, answers = list(csv.DictReader(asked)), list(csv.DictReader(answered))
    assert [answer["qid"] for answer in answers] == [question["qid"] for question in questions]
    assert all(0 <= float(answer["probability"]) <= 1 and answer["label"] in "01" for answer in answers)


def test_questions_come_by_standard_input_and_go_to_standard_output(tmp_path, capfd):
    (tmp_path / "questions.csv").write_text("question_text\nWhy is the sky blue?\n\n")
    with (tmp_path / "questions.csv").open() as file:
        before = os.dup(0)
        os.dup2(file.fileno(), 0)
        try:
            assert main(["predict", "--input", "-", "--output", "-"]) == 0
        finally:
            os.dup2(before, 0)
            os.close(before)
    assert [line.split(",")[0] for line in capfd.readouterr().out.splitlines()] == [
        "question_text",
        "Why is the sky blue?",
        "",
    ]


def test_a_step_by_itself_prints_its_record_and_nothing_else(place, capsys):
    assert main(["snapshot", "--source", str(place / "rows.csv")]) == 0
    record = read_any(capsys.readouterr().out)
    assert isinstance(record, RawSnapshot)
    assert (record.rows, record.source) == (1500, "file:rows.csv")


def test_history_has_a_line_for_the_run(capsys):
    assert main(["history"]) == 0
    assert "promote" in capsys.readouterr().out.splitlines()[1]


def test_an_alias_that_points_at_nothing_is_an_error(capsys):
    assert main(["predict", "--alias", "nobody", "--text", "x"]) == 65
    assert "'nobody' points at no model" in capsys.readouterr().err


def test_a_step_that_lacks_a_record_says_which(capsys):
    assert main(["split"]) == 65
    assert "not given a RawSnapshot and a ValidationReport" in capsys.readouterr().err


def test_the_schedules_time_zone_is_that_of_the_freeze_windows(place, monkeypatch, capsys):
    command = ["snapshot", "--source", str(place / "rows.csv")]
    monkeypatch.setenv("SINCERE_TIMEZONE", "Mars/Olympus")
    assert main(command) == 65
    assert "'Mars/Olympus' is no time zone" in capsys.readouterr().err
    assert main([*command, "--set", "policy.timezone=Europe/Zurich"]) == 0


def test_an_approval_needs_the_records_of_the_decision(capsys):
    assert main(["approve"]) == 65
    assert "step approve was not given a Comparison and a Decision and a Probe" in capsys.readouterr().err


@pytest.mark.usefixtures("quick_servers")
def test_a_run_that_wants_an_approval_says_so_ends_and_crowns_nobody(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    asking = ["--set", "policy.approval=always", "--set", 'policy.freeze=["* * * * *"]']
    assert main(["run", "--config", str(place / "tiny.toml"), "--source", str(place / "rows.csv"), *asking]) == 0
    told = capsys.readouterr().out
    needed = "by the setting approval = always and the freeze window * * * * * (UTC)."
    assert f"nobody has approved the candidate yet, as needed {needed}" in " ".join(told.split())
    assert "approval: a person would be asked in Airflow; dags test, make retrain and ml run ask nobody" in told
    assert "production" not in json.loads((tmp_path / "registry" / "aliases.json").read_text())["versions"]


@pytest.mark.parametrize("run_id", ["../up", "a b", ".hidden", "-x/y"])
def test_a_run_id_that_is_no_folder_name_is_refused(place, run_id, capsys):
    assert main(["snapshot", "--source", str(place / "rows.csv"), f"--run-id={run_id}"]) == 65
    assert "cannot name a folder" in capsys.readouterr().err


def test_the_password_of_a_source_is_in_no_message(capsys):
    assert main(["snapshot", "--source", "ftp://user:sesame@host.invalid/a.csv"]) == 65
    printed = capsys.readouterr()
    assert "sesame" not in printed.out + printed.err


def _zipped(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "qid,question_text,target\na,b,0\n")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("page.csv", b"<!doctype html><html><body>Log in</body></html>"),
        ("semicolons.csv", b"qid;question_text;target\na;b;0\n"),
        ("latin1.csv", "qid,question_text,target\na,caf\xe9,0\n".encode("latin-1")),
        ("nul.csv", b"qid,question_text,target\na,b\x00c,0\n"),
        ("marked.csv", b"\xef\xbb\xbfqid,question_text,target\na,b,0\n"),
        ("archive.zip", b"PK\x03\x04truncated"),
        ("short.csv", b"qid,question_text\na,b\n"),
        ("missing.csv", None),
        ("climbing.zip", _zipped("../rows.csv")),
        ("several.zip", _zipped("a.csv", "b.csv")),
        ("wide.csv", b"qid,question_text,target,more\na,b,0,c\n"),
        ("one class.csv", b"qid,question_text,target\na,b,0\nc,d,0\n"),
        ("few.csv", b"qid,question_text,target\na,b,0\nc,d,1\n"),
    ],
)
def test_bad_input_is_one_error_and_leaves_everything_as_it_was(place, home, name, content, capsys):
    if content is not None:
        (place / name).write_bytes(content)
    before = {path for path in (home / "store").rglob("*") if "snapshots" not in path.parts}
    assert _run(place, "bad", name) == 65
    assert capsys.readouterr().err.count("what to do: ") == 1
    assert {path for path in (home / "store").rglob("*") if "snapshots" not in path.parts} == before
    assert _champion(home) == "v1"


@pytest.mark.parametrize("vocabulary", [None, "[PAD]\n[UNK]\n[CLS]\n[SEP]\nwhat\n"])
def test_a_bad_encoder_is_one_error_and_leaves_everything_as_it_was(place, home, tmp_path, vocabulary, capsys):
    encoder = shutil.copytree(place / "encoder", tmp_path / "encoder")
    (encoder / "vocab.txt").unlink()
    if vocabulary is not None:
        (encoder / "vocab.txt").write_text(vocabulary)
    before = set((home / "store").rglob("*"))
    settings = ["--set", f"encoder.source={json.dumps(str(encoder))}"]
    command = ["run", "--config", str(place / "tiny.toml"), "--source", str(place / "rows.csv")]
    assert main([*command, "--run-id", "encoder", *settings]) == 65
    assert capsys.readouterr().err.count("what to do: ") == 1
    assert set((home / "store").rglob("*")) == before
    assert _champion(home) == "v1"


def test_an_unknown_setting_is_one_error(place, home, capsys):
    (place / "typo.toml").write_text("[train]\nepoch = 1\n")
    assert main(["run", "--config", str(place / "typo.toml"), "--source", str(place / "rows.csv")]) == 65
    assert capsys.readouterr().err.count("what to do: ") == 1
    assert _champion(home) == "v1"


def test_the_same_run_again_is_no_work_and_says_so(place, home, capsys):
    assert _run(place, "again") == 0
    assert "UNCHANGED: Nothing has changed." in capsys.readouterr().out
    assert _champion(home) == "v1"
    assert not (home / "reports" / "again" / "evaluation.html").exists()


@pytest.mark.usefixtures("quick_servers")
def test_a_forced_dry_run_comes_to_a_verdict_and_leaves_the_registry_alone(place, home, capsys):
    before = tree_digest(home / "registry")
    command = ["run", "--config", str(place / "tiny.toml"), "--source", str(place / "rows.csv"), "--run-id", "dry"]
    assert main([*command, "--force", "--dry-run"]) == 0
    assert "DRY RUN, " in capsys.readouterr().out
    assert tree_digest(home / "registry") == before


def _decision(home: Path) -> str:
    """Find the file of the first run's decision."""
    first = json.loads((home / "registry" / "history.jsonl").read_text().splitlines()[0])
    return str(home / "store" / "decisions" / first["decision"] / "decision.json")


def test_a_decision_is_replayed_from_its_scores(home, capsys):
    assert main(["replay", _decision(home)]) == 0
    assert capsys.readouterr().out.startswith("SAME: promote, from ")


def test_a_replay_by_another_policy_says_what_the_verdict_would_have_been(place, home, capsys):
    other = ["--config", str(place / "tiny.toml"), "--set", "policy.min_precision=1.0"]
    assert main(["replay", _decision(home), *other]) == 0
    assert capsys.readouterr().out.startswith("BY THIS POLICY: blocked (recorded: promote). ")


def test_a_sample_is_there_whole_with_nothing_beside_it(tmp_path):
    assert main(["sample", "--rows", "20", "--output", str(tmp_path / "mine.csv")]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]
    with (tmp_path / "mine.csv").open(newline="") as file:
        assert [list(row) for row in csv.DictReader(file)] == [["qid", "question_text", "target"]] * 20


@pytest.mark.parametrize("output", ["nowhere/mine.csv", "."])
@pytest.mark.parametrize("command", [["sample", "--rows", "20"], ["snapshot", "--source", "sample:20"]])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path, home, command, output, capsys):
    before = list((home / "store" / "snapshots").iterdir())
    assert main([*command, "--output", str(tmp_path / output)]) == 65
    assert "no file can be written there" in capsys.readouterr().err
    assert list((home / "store" / "snapshots").iterdir()) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "folder", b"{", b"\xff\xfe", b"[]", b'{"record": []}'])
def test_an_input_that_is_no_record_is_one_error(tmp_path, content, capsys):
    record = tmp_path / "record.json"
    if content == "folder":
        record.mkdir()
    elif content is not None:
        record.write_bytes(content)
    assert main(["split", "--input", str(record)]) == 65
    assert capsys.readouterr().err.count("what to do: ") == 1


@pytest.mark.parametrize("option", ["--rows=-5", "--rows=0", "--seed=-1"])
def test_a_sample_that_cannot_be_is_refused(tmp_path, option, capsys):
    assert main(["sample", option, "--output", str(tmp_path / "mine.csv")]) == 65
    assert "no such sample" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_decision_is_not_replayed(home, capsys):
    comparison = next((home / "store" / "comparisons").rglob("comparison.json"))
    assert main(["replay", str(comparison)]) == 65
    assert "the record is no Decision" in capsys.readouterr().err


def test_the_history_is_drawn(tmp_path):
    assert main(["history", "--plot", str(tmp_path / "history.svg")]) == 0
    picture = (tmp_path / "history.svg").read_text()
    assert picture.startswith("<svg")
    assert "Precision and recall by version" in picture


def test_a_first_champion_cannot_be_rolled_back(home, capsys):
    assert main(["rollback", "--reason", "a try"]) == 65
    assert "champion v1 took over from none" in capsys.readouterr().err
    assert _champion(home) == "v1"


def test_without_an_outage_nothing_is_pending(capsys):
    assert main(["promote", "--pending"]) == 0
    assert capsys.readouterr().out == "no promotion is pending\n"


@pytest.fixture
def decided(home, tmp_path, monkeypatch):
    """A home of its own with the first run as it was before its promotion."""
    decided = shutil.copytree(home, tmp_path / "home")
    shutil.rmtree(decided / "registry")
    (decided / "reports" / "first" / "records" / "promote").unlink()
    monkeypatch.setenv("SINCERE_HOME", str(decided))
    return decided


def test_the_page_with_the_verdict_keeps_what_was_drawn_before_it(place, decided, monkeypatch):
    folder = decided / "reports" / "first"
    page = folder / "evaluation.html"
    shown = page.read_text(encoding="utf-8")
    for name in ("evaluate", "probe"):
        text = (folder / "records" / name).read_text(encoding="utf-8")
        (decided / f"{name}.json").write_text(text.split("\n")[1], encoding="utf-8")
    inputs = [f"--input={decided / name}.json" for name in ("evaluate", "probe")]
    decide = ["decide", "--config", str(place / "tiny.toml"), "--source", str(place / "rows.csv"), "--run-id=first"]

    with monkeypatch.context() as never:
        never.setattr("ml.report.plots.svg", _fail)
        assert main([*decide, *inputs]) == 0
    assert page.read_text(encoding="utf-8") == shown
    page.write_text(shown.replace("<!-- comparison ", "<!-- comparison 0"), encoding="utf-8")  # of another one
    assert main([*decide, *inputs]) == 0
    assert page.read_text(encoding="utf-8") == shown
    page.unlink()
    assert main([*decide, *inputs]) == 0
    assert page.read_text(encoding="utf-8") == shown


def test_a_run_that_failed_late_goes_on_from_its_records_and_one_that_ended_shows_its_verdict(
    place, decided, monkeypatch, capsys
):
    from ml.champion import promote as promotion

    with monkeypatch.context() as never:
        never.setattr("ml.source.snapshot.snapshot", _fail)
        never.setattr("ml.judge.evaluate.evaluate", _fail)
        with monkeypatch.context() as away:
            away.setattr(promotion, "keep_pending", _no_space)
            assert _run(place, "first") == 75
        assert "No space left on device" in capsys.readouterr().err
        assert not (decided / "registry" / "aliases.json").exists()
        assert _run(place, "first") == 0
    assert "PROMOTE: " in capsys.readouterr().out
    assert _champion(decided) == "v1"

    before = tree_digest(decided)
    assert _run(place, "first", "missing.csv") == 0
    assert "PROMOTE: " in capsys.readouterr().out
    assert tree_digest(decided) == before


def _no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(Path(os.environ["SINCERE_HOME"], "store", "pending")))


def _fail(*_):
    raise AssertionError("it is there already")


def test_two_runs_of_one_second_have_two_names(place, tmp_path, monkeypatch):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    for _ in range(2):
        assert main(["run", "--source", str(tmp_path / "missing.csv")]) == 65
    assert len(list((tmp_path / "reports").iterdir())) == 2


@pytest.mark.parametrize("run_id", ["x" * 201, "x" * 5000])
def test_a_run_id_that_is_too_long_is_refused_and_not_repeated(place, run_id, capsys):
    assert main(["snapshot", "--source", str(place / "rows.csv"), f"--run-id={run_id}"]) == 65
    assert len(capsys.readouterr().err) < 400


def test_an_empty_variable_is_an_unset_one_and_a_tilde_is_the_users_home(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("SINCERE_HOME", "")
    monkeypatch.setenv("SINCERE_REGISTRY", "")
    assert main(["snapshot", "--source", "sample:20"]) == 0
    assert (tmp_path / "var" / "store" / "snapshots").is_dir()
    monkeypatch.setenv("SINCERE_HOME", "~/home")
    assert main(["snapshot", "--source", "sample:20"]) == 0
    assert (tmp_path / "user" / "home" / "store" / "snapshots").is_dir()
    monkeypatch.setenv("SINCERE_HOME", "~nobody-of-this-name/home")
    assert main(["history"]) == 65
    assert "there is no such user" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["file:~/r", "file://~/r"])
def test_a_registry_below_the_users_home_is_found_there(home, tmp_path, monkeypatch, url, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(home / "registry", tmp_path / "r")
    monkeypatch.setenv("SINCERE_REGISTRY", url)
    assert main(["history"]) == 0
    assert "promote" in capsys.readouterr().out


def test_a_home_that_is_a_file_is_one_error_that_names_the_place_and_no_path(tmp_path, monkeypatch, capsys):
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "home"))
    assert main(["snapshot", "--source", "sample:20"]) == 65
    told = capsys.readouterr().err
    assert "SINCERE_HOME" in told
    assert str(tmp_path) not in told


def test_a_home_behind_links_that_lead_to_each_other_is_one_error(tmp_path, monkeypatch, capsys):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).symlink_to(tmp_path / other)
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "a"))
    assert main(["history"]) == 65
    assert "SINCERE_HOME" in (told := capsys.readouterr().err)
    assert str(tmp_path) not in told


@pytest.mark.parametrize("name", ["~nobody-of-this-name/mine.toml", "/nowhere/of/jane/mine.toml"])
def test_a_file_of_settings_that_is_not_there_is_one_error_without_its_path(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    assert main(["snapshot", "--config", name]) == 65
    assert "--config" in (told := capsys.readouterr().err)
    assert "jane" not in told


def test_a_record_that_the_disk_has_no_room_for_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    assert main(["snapshot", "--source", "sample:20", "--output", "/dev/full"]) == 75
    assert "No space left on device" in capsys.readouterr().err


def test_a_verdict_is_printed_in_any_encoding_with_a_plain_mark(home, tmp_path):
    shutil.copytree(home / "reports" / "first", tmp_path / "reports" / "first")
    environment = {**os.environ, "SINCERE_HOME": str(tmp_path), "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "ml", "verdict"]
    ended = subprocess.run(command, cwd=PROJECT, env=environment, check=False, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b" +  precision floor" in ended.stdout


def test_a_reader_that_goes_away_early_is_no_error(home):
    environment = {**os.environ, "SINCERE_HOME": str(home)}
    command = [sys.executable, "-m", "ml", "sample", "--help"]
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as each:
        each.stdout.close()
        assert b"Traceback" not in each.stderr.read()


def test_the_sample_can_be_ruled_out(home, capsys):
    assert main(["snapshot", "--no-sample"]) == 65
    assert "set SINCERE_SOURCE" in capsys.readouterr().err


def test_a_run_whose_records_find_no_place_leaves_a_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    (tmp_path / "reports" / "blocked").mkdir(parents=True)
    (tmp_path / "reports" / "blocked" / "records").write_text("a file where a folder belongs")
    assert main(["run", "--source", "sample:20", "--run-id", "blocked"]) == 65
    assert main(["verdict"]) == 0
    assert capsys.readouterr().out.startswith("FAILED: the step snapshot (its record) ended the run.")


def test_a_schedule_without_a_source_leaves_a_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path))
    assert main(["snapshot", "--no-sample", "--run-id", "weekly"]) == 65
    assert main(["verdict"]) == 0
    assert capsys.readouterr().out.startswith("FAILED: the step snapshot ended the run.\n\nnobody is there to ask for")


@pytest.mark.parametrize("option", ["--rows", "--seed"])
def test_a_number_of_5000_digits_is_refused_and_not_repeated(option, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["sample", option, "9" * 5000, "--output", str(tmp_path / "a.csv")])
    assert len(capsys.readouterr().err) < 1000


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_told_to_end_leaves_a_verdict(tmp_path, number, status):
    environment = {**os.environ, "SINCERE_HOME": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as never_answers:
        source = f"http://127.0.0.1:{never_answers.getsockname()[1]}/a.csv"
        command = [sys.executable, "-m", "ml", "run", "--source", source, "--run-id", "told"]
        with subprocess.Popen(command, cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True) as each:
            connection, _ = never_answers.accept()
            each.send_signal(number)
            said = each.communicate(timeout=60)[1]
            connection.close()
    assert (each.returncode, "Traceback" in said) == (status, False)
    verdict = (tmp_path / "reports" / "told" / "verdict.txt").read_text()
    assert verdict.startswith("NOT FINISHED: the step snapshot was interrupted.")


@pytest.fixture
def another_host(place, home, state_server, tmp_path, monkeypatch):
    """An empty home, with the object store to which the home of the first run was brought."""
    monkeypatch.setenv("SINCERE_STORE", ADDRESSES["s3"])
    monkeypatch.setenv("SINCERE_HOME", str(shutil.copytree(home, tmp_path / "first")))
    assert main(["share"]) == 0
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "other"))
    return state_server


def test_another_host_goes_on_from_the_object_store(place, another_host, capsys, tmp_path):
    assert _run(place, "second") == 0
    assert (
        "UNCHANGED: Nothing has changed. CSV, settings and code are those of the run of champion v1."
        in capsys.readouterr().out
    )
    assert main(["predict", "--text", "Why is the sky blue?"]) == 0
    assert capsys.readouterr().out.startswith("probability 0.")
    assert main(["registry", "check"]) == 0
    shutil.rmtree(tmp_path / "other")
    assert main(["verdict"]) == 0
    assert "UNCHANGED" in capsys.readouterr().out
    assert not (tmp_path / "other" / "registry").exists()


def test_a_champion_with_a_changed_byte_or_a_store_that_refuses_predicts_nothing(another_host, capsys):
    part = another_host.keys("parts/models/")[0]
    content, then = another_host.objects[f"{ROOT}/{part}"]
    another_host.objects[f"{ROOT}/{part}"] = bytes([content[0] ^ 1]) + content[1:], then
    assert main(["predict", "--text", "Why?"]) == 65
    assert "the files of v1 are lost or changed" in capsys.readouterr().err

    another_host.fault = lambda method, key: 403
    assert main(["predict", "--text", "Why?"]) == 65
    said = capsys.readouterr().err
    assert "the bucket forbids access" in said
    assert "the-secret" not in said
    assert not [key for key, (content, _) in another_host.objects.items() if b"the-secret" in content]
