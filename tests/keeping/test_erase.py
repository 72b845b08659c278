"""A person's question goes from everything that the home keeps; no later file brings it back; replays say so."""

import csv
import re
import shutil
import signal
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.cli import main
from ml.config import Config, SourceConfig
from ml.data.rows import ROWS_SCHEMA, read_part
from ml.errors import LineageError
from ml.judge.kept_decisions import policy_of
from ml.judge.replay import replay
from ml.records import Decision, ErasedRows, NothingErased, RunOutcome, Split, from_json
from ml.report.words.replay_text import replay_text
from ml.source.snapshot import snapshot
from ml.store.erasures import erased_rows, read_erasures
from ml.store.files import file_digest
from tests.doomed import Death, doomed_processes
from tests.judge.examples import open_run
from tests.judge.test_replay import POLICY, decided, rival
from tests.keeping.homes import put

QUESTIONS = [
    ("a", "Why is the sky above Jane's house blue?", 1),
    ("b", "Who is <he>?", 0),
    ("c", "What?", 1),
    ("d", "why is the SKY above jane s house blue", 0),
    ("e", "who", 0),
]
ROWS = pa.table([list(column) for column in zip(*QUESTIONS, strict=True)], schema=ROWS_SCHEMA)
TEST = "7" * 64


def write_csv(path, questions, *, more=""):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([ROWS_SCHEMA.names, *questions])
        file.write(more)
    return Config(source=SourceConfig(uri=str(path), max_quarantined_fraction=1))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make a home with a snapshot, a decision with its test rows and scores, pages and scored files."""
    place = tmp_path_factory.mktemp("erase")
    run = open_run(place / "home")
    config = write_csv(place / "rows.csv", QUESTIONS, more="a,one field too many,0,0\nb,too,many,0\n")
    snapshot(config, run)
    put(run, "splits", TEST, ROWS)
    put(run, "splits", "8" * 64, ROWS.slice(1, 1))
    decided(run.store, rival())
    run.store.put("unsent", "key", {"scored": "a,Why"})
    first = replace(run, run_id="first")
    first.keep_for_page(RunOutcome(outcome="kept", step="promote", reason="no gain", lines=()))
    page = "<table><tr><td>Who is &lt;he&gt;?</td></tr><tr><td>What?</td></tr></table> What? Why is the sky"
    (first.report_folder / "evaluation.html").write_text(f"{page} above Jane&#39;s house blue?")
    scored = place / "home" / "scored"
    scored.mkdir()
    pq.write_table(ROWS, scored / "with_ids.parquet")
    (scored / "with_ids.csv").write_text("qid,question_text\na,other\nb,What?\n")
    (scored / "texts.csv").write_text('question_text,probability\n"What?",0.5\nwho,0.1\n')
    return place


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    monkeypatch.setenv("SINCERE_HOME", str(tmp_path / "home"))
    return shutil.copytree(made / "home", tmp_path / "home")


def erase(home, *lines, options=()):
    (home.parent / "ids").write_text("".join(f"{line}\n" for line in lines))
    return main(["erase", "--ids", str(home.parent / "ids"), *options])


def kept_ids(home):
    """All ids in the store, wherever they are kept."""
    found = {}
    for path in sorted((home / "store").rglob("*")):
        kind = path.relative_to(home / "store").parts[0]
        if path.name == "rows.parquet":
            found.setdefault(f"{kind} {path.name}", []).extend(pq.read_table(path)["qid"].to_pylist())
        elif path.name in ("rows.csv", "quarantine.csv"):
            found.setdefault(f"{kind} {path.name}", []).extend(
                row[0] for row in csv.reader(path.read_text().splitlines())
            )
        elif path.name == "scores.npz":
            found.setdefault(kind, []).extend(np.load(path)["qid"].tolist())
    return found


def test_a_question_goes_from_all_that_is_kept(home, capsys):
    assert erase(home, "a", "c") == 0

    assert kept_ids(home) == {
        "comparisons": ["b", "d", "e"],
        "snapshots quarantine.csv": ["b"],
        "snapshots rows.csv": ["qid", "b", "d", "e"],
        "snapshots rows.parquet": ["b", "d", "e"],
        "splits rows.parquet": ["b", "d", "e", "b"],
    }
    page = (home / "reports" / "first" / "evaluation.html").read_text()
    assert page == "<table><tr><td>Who is &lt;he&gt;?</td></tr><tr><td>[erased]</td></tr></table> What? [erased]"
    scored = home / "scored"
    assert pq.read_table(scored / "with_ids.parquet")["qid"].to_pylist() == ["b", "d", "e"]
    assert (scored / "with_ids.csv").read_text() == "qid,question_text\nb,What?\n"
    assert (scored / "texts.csv").read_text() == "question_text,probability\nwho,0.1\n"
    assert not any((home / "store" / "unsent").iterdir())
    told = capsys.readouterr().out
    assert told.startswith("erased by 2 ids: pages 2, scored files 4, comparisons 2, splits 2, snapshots 3\n")
    assert "The weights of models are as they were: train again" in told
    assert "Weights & Biases" in told


def test_scores_and_rows_still_belong_together(home):
    erase(home, "b")
    rows = pq.read_table(home / "store" / "splits" / TEST / "rows.parquet")
    (scores,) = (home / "store" / "comparisons").glob("*/scores.npz")
    with np.load(scores) as arrays:
        assert arrays["qid"].tolist() == rows["qid"].to_pylist() == ["a", "c", "d", "e"]
        assert {len(arrays[name]) for name in arrays} == {4}
        assert arrays["candidate"].tolist() == pytest.approx([0.9, 0.6, 0.2, 0.1])


def test_the_record_has_hashes_and_nobody_reads_the_ids_from_it(home):
    long = "630fdf885f1b7dedc175"
    erase(home, long)
    (record,) = (home / "store" / "erasures").glob("*/erasure.json")
    assert long not in record.read_text()
    other = shutil.copytree(home, home.parent / "other")
    shutil.rmtree(other / "store" / "erasures")
    (hashed,) = read_erasures(open_run(home).store).requests
    assert read_erasures(open_run(home).store).covered([long, "b"]) == {long}
    assert len(hashed.salt) == 64


def test_a_later_file_is_read_without_the_row_and_is_another_snapshot(home, made, caplog):
    run = open_run(home)
    erase(home, "a")

    record = snapshot(write_csv(made / "rows.csv", QUESTIONS), run)

    assert (record.rows, record.erased_rows) == (4, 1)
    assert record.sha256 != file_digest(made / "rows.csv")
    assert snapshot(write_csv(made / "rows.csv", QUESTIONS), run) == record
    stored = run.store.open("snapshots", record.sha256)
    assert pq.read_table(stored / "rows.parquet")["qid"].to_pylist() == ["b", "c", "d", "e"]
    assert "Jane's" not in (stored / "rows.csv").read_text()
    assert "1 rows are left out, because they were erased" in caplog.text


def test_the_same_rows_left_out_give_the_same_snapshot_in_any_home(home, made, tmp_path):
    other = open_run(tmp_path / "other")
    main(["history"])
    erase(home, "a")
    (made / "ids").write_text("a\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINCERE_HOME", str(tmp_path / "other"))
        assert main(["erase", "--ids", str(made / "ids")]) == 0
    config = write_csv(made / "rows.csv", QUESTIONS)
    assert snapshot(config, other) == snapshot(config, open_run(home))


def test_a_file_without_the_row_is_known_by_its_bytes_alone(home, tmp_path):
    erase(home, "a")
    record = snapshot(write_csv(tmp_path / "others.csv", QUESTIONS[1:]), open_run(home))
    assert (record.sha256, record.erased_rows) == (file_digest(tmp_path / "others.csv"), 0)


def test_an_unknown_id_is_named_by_its_line_and_kept_from_later_files(home, tmp_path, capsys):
    assert erase(home, "a", "", "nobody-of-this-name") == 0
    told = capsys.readouterr().out
    assert "line 3: no row has this id; a later file that has it is read without it" in told
    assert "nobody" not in told
    config = write_csv(tmp_path / "later.csv", [*QUESTIONS[1:], ("nobody-of-this-name", "Why me?", 0)])
    assert snapshot(config, open_run(home)).erased_rows == 1


def test_others_with_the_same_text_are_counted_and_go_on_demand(home, capsys):
    erase(home, "a")
    assert "1 other ids bear or bore the same texts: --same-text erases them too" in capsys.readouterr().out
    assert "d" in kept_ids(home)["comparisons"]


def test_others_with_the_same_text_go_too(home, capsys):
    erase(home, "a", options=["--same-text"])
    assert "1 other ids bear or bore the same texts, and went too" in capsys.readouterr().out
    assert kept_ids(home)["splits rows.parquet"] == ["b", "c", "e", "b"]


def test_a_second_time_there_is_nothing_left_and_nothing_new_to_record(home, capsys):
    erase(home, "a")
    capsys.readouterr()
    erase(home, "a")
    told = capsys.readouterr().out
    assert told.startswith(
        "erased by 1 ids: pages 0, scored files 0, comparisons 0, splits 0, snapshots 0\nThe weights"
    )
    assert len(list((home / "store" / "erasures").iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_file_without_ids_is_refused(home, content, capsys):
    (home.parent / "ids").write_bytes(content)
    assert main(["erase", "--ids", str(home.parent / "ids")]) == 65
    assert "--ids" in capsys.readouterr().err


def test_a_run_that_has_not_ended_is_named(home, capsys):
    (home / "reports" / "goes-on" / "page").mkdir(parents=True)
    erase(home, "a")
    assert "run goes-on has not ended, and may have read the rows" in capsys.readouterr().out


def test_a_step_that_had_divided_the_rows_before_says_what_became_of_them(home):
    erase(home, "a")
    part = Split(name="test", digest=TEST, rows=5, positives=2)
    with pytest.raises(LineageError, match="1 of the test rows were erased since they were divided"):
        read_part(open_run(home).store, part)


def decision_of(store):
    (name,) = store.names("decisions")
    return from_json((store.open("decisions", name) / "decision.json").read_text(), Decision)


def test_a_replay_says_what_is_missing_and_what_still_follows(home):
    erase(home, "a")
    erase(home, "c")
    store = open_run(home).store
    decision = decision_of(store)

    result = replay(store, decision, policy_of(store, decision))

    assert result.reproduced
    assert isinstance(result.erased, ErasedRows)
    text = re.sub(r"\s+", " ", replay_text(result))
    assert f"SAME: {decision.verdict}, from the recorded figures. " in text
    assert re.search(r"2 of 5 test rows were erased on 20\d\d-\d\d-\d\d: no figure can be measured again", text)


def test_another_policy_judges_by_what_remains(home):
    erase(home, "e")
    store = open_run(home).store
    result = replay(store, decision_of(store), replace(POLICY, min_precision=0.99))
    assert (result.rows, result.same_policy) == (4, False)
    assert replay_text(result).startswith("BY THIS POLICY: ")


def test_grounds_that_are_not_those_of_the_decision_are_damage_and_no_erasure(home):
    erase(home, "a")
    store = open_run(home).store
    decision = decision_of(store)
    path = store.open("decisions", store.names("decisions")[0]) / "probe.json"
    path.write_text(path.read_text().replace('"rows":256', '"rows":255'))
    with pytest.raises(LineageError, match="is not the one that the decision names"):
        replay(store, decision, policy_of(store, decision))


def test_what_lost_no_row_bears_no_mark(home):
    erase(home, "a")
    assert isinstance(erased_rows(open_run(home).store, "splits", "8" * 64), NothingErased)


def test_an_erasure_that_was_killed_is_completed_by_the_same_command(made, tmp_path):
    (tmp_path / "ids").write_text("a\nc\n")
    command = ["erase", "--ids", str(tmp_path / "ids")]
    with doomed_processes("ml.keeping.erase") as processes:
        home = shutil.copytree(made / "home", tmp_path / "undisturbed")
        changes = processes.run(home, command).changes
        end, pages = kept_ids(home), (home / "reports" / "first" / "evaluation.html").read_text()
        renames = [number for number, change in enumerate(changes, 1) if change.startswith("os.rename")]
        for number in renames[::6]:
            home = shutil.copytree(made / "home", tmp_path / "home")
            assert processes.run(home, command, Death(number)).status == -signal.SIGKILL
            assert processes.run(home, command).status == 0
            assert kept_ids(home) == end
            assert (home / "reports" / "first" / "evaluation.html").read_text() == pages
            shutil.rmtree(home)
