"""Scoring as a whole: a real model and registry, real files of both formats, and the watch with its Data Docs."""

import csv
import gzip
import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.errors import ConfigError, DataError, OutputUnavailable
from ml.model.profile import profile_of
from ml.records import NoChampion, Scoring, UnknownProfile
from ml.registry import CHAMPION_ALIAS
from ml.run import Run
from ml.scoring import destination
from ml.scoring import score as scoring
from ml.steps import run_step
from tests.letters import crown
from tests.places import config, open_run

TEXTS = [("a" * (number % 9), f"note {number}") for number in range(500)]
USUAL = profile_of([text for text, _ in TEXTS], np.array([len(text) / 10 for text, _ in TEXTS], np.float32), 0.5)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A home whose champion scores a text by its letters, and was trained on texts such as TEXTS."""
    run = open_run(tmp_path_factory.mktemp("home"))
    crown(run, USUAL)
    return replace(run, run_id="week")


@pytest.fixture
def questions(tmp_path) -> Path:
    return write_csv(tmp_path / "questions.csv", TEXTS)


def write_csv(path: Path, rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("question_text", "note"), *rows])
    return path


def score(run, source, output="auto", *overrides) -> Scoring:
    record = run_step("score", config(source, f"score.output={json.dumps(str(output))}", *overrides), run, ())
    assert isinstance(record, Scoring)
    return record


def test_each_row_gets_its_probability_and_label_in_order(run, questions, tmp_path):
    record = score(run, questions, tmp_path / "scored.csv")
    with (tmp_path / "scored.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["question_text"], row["note"]) for row in rows] == TEXTS
    assert [float(row["probability"]) for row in rows] == pytest.approx([len(text) / 10 for text, _ in TEXTS])
    assert [int(row["label"]) for row in rows] == [int(len(text) >= 5) for text, _ in TEXTS]
    assert (record.format, record.now, record.then) == ("CSV", USUAL, USUAL)


def test_the_record_names_both_files_by_content_and_has_neither_text_nor_folder(run, questions, tmp_path):
    record = score(run, questions, tmp_path / "scored.csv")
    assert record.champion == run.registry.resolve(CHAMPION_ALIAS)
    assert record.questions == hashlib.sha256(questions.read_bytes()).hexdigest()
    assert record.scored == hashlib.sha256((tmp_path / "scored.csv").read_bytes()).hexdigest()
    assert (record.source, record.output) == ("file:questions.csv", "file:scored.csv")
    assert (record.worst_severity, record.drift, len(record.checks)) == ("none", (), 6)
    kept = [path.read_bytes() for path in run.reports.rglob("*") if path.is_file()]
    assert not [page for page in kept if b"note 17" in page or str(tmp_path).encode() in page]


def test_what_was_scored_and_what_the_watch_found_is_said_in_words(run, questions, tmp_path, caplog):
    caplog.set_level("INFO", logger="ml")
    score(run, questions, tmp_path / "scored.csv")
    assert "champion v1 scores file:questions.csv, a CSV file" in caplog.text
    assert "scored 500 questions: 220 are flagged (44.00 %), with a probability of 0.5000 or more" in caplog.text
    verdict = (run.report_folder / "verdict.txt").read_text(encoding="utf-8")
    assert verdict.startswith("SCORED: these questions are like those of training.\n")
    assert "v1 scored 500 questions of file:questions.csv: 220 are flagged (44.00%)." in verdict
    assert (run.report_folder / "data_docs_scores" / "index.html").is_file()
    assert "<h2>Distributions</h2>" in (run.report_folder / "scoring.html").read_text(encoding="utf-8")


def test_other_questions_are_a_drift_which_is_said_and_does_not_hold_the_rows_back(run, tmp_path, caplog):
    source = write_csv(tmp_path / "odd.csv", [("a" * (5 + number % 5), "note 17") for number in range(500)])
    told = []
    record = score(replace(run, tell=told.append), source, tmp_path / "scored.csv")
    drifted = ["share flagged", "distribution of the scores", "distribution of the lengths"]
    assert [check.name for check in record.drift] == drifted
    assert (tmp_path / "scored.csv").is_file()
    verdict = (run.report_folder / "verdict.txt").read_text(encoding="utf-8")
    assert verdict.startswith("DRIFT: share flagged, distribution of the scores, distribution of the lengths")
    (notice,) = told
    assert (notice.event, notice.figures) == ("drift", "500 of 500 questions of file:odd.csv are flagged")
    assert "not like those that champion v1 was trained on" in notice.what
    assert notice.why.startswith("share flagged: 0.4835; distribution of the scores: ")
    assert "share flagged (flagged_shift): observed 0.4835, required at most 0.005" in caplog.text


def test_a_few_questions_are_no_drift_by_chance(run, tmp_path):
    told = []
    few = write_csv(tmp_path / "few.csv", [("aaaaaa", ""), ("aaaaaaa", "")])
    record = score(replace(run, tell=told.append), few, tmp_path / "scored.csv")
    assert (record.drift, record.worst_severity, told) == ((), "info", [])


def test_a_bound_is_opened_by_a_setting_and_a_suite_edited_by_hand(run, tmp_path):
    source = write_csv(tmp_path / "odd.csv", [("a" * 6, "")] * 500)
    suite = json.loads(Path("expectations/scores.json").read_text(encoding="utf-8"))
    suite["expectations"] = [each for each in suite["expectations"] if each["meta"]["name"] == "share flagged"]
    (tmp_path / "mine.json").write_text(json.dumps(suite))
    mine = f"score.suite={json.dumps(str(tmp_path / 'mine.json'))}"
    assert score(run, source, tmp_path / "a.csv", mine).worst_severity == "warning"
    opened = score(run, source, tmp_path / "a.csv", mine, "score.parameters.max_flagged_shift=0.9")
    assert opened.worst_severity == "none"
    with pytest.raises(ConfigError, match=r"no suite has a parameter 'max_shift'(.|\n)*config \[score.parameters\]"):
        score(run, source, tmp_path / "a.csv", "score.parameters.max_shift=0.9")


def test_a_critical_failure_stops_the_run_and_nothing_is_written(run, tmp_path):
    source = write_csv(tmp_path / "damaged.csv", [("caf\u00c3\u00a9", "")] * 300)
    with pytest.raises(DataError, match=r"damaged text(.|\n)*score\.parameters\.NAME=VALUE"):
        score(run, source, tmp_path / "scored.csv")
    assert not (tmp_path / "scored.csv").exists()
    assert (run.report_folder / "verdict.txt").read_text(encoding="utf-8").startswith("FAILED: the step score")
    assert "damaged text" in (run.report_folder / "scoring.html").read_text(encoding="utf-8")


def test_by_default_the_rows_go_into_the_home_under_the_name_of_the_run(run, questions):
    score(run, questions)
    assert (run.reports.parent / "scored" / "week.csv").is_file()


def test_of_the_rows_in_the_home_the_newest_stay(run, questions):
    for week in ("one", "two", "three"):
        score(replace(run, run_id=week), questions, "auto", "score.keep=2")
    kept = {path.name for path in (run.reports.parent / "scored").iterdir()}
    assert kept == {"two.csv", "three.csv"}


@pytest.mark.parametrize("refused", [1, 2])
def test_rows_that_a_bucket_did_not_take_are_sent_by_a_retry_and_not_scored_again(
    run, questions, tmp_path, monkeypatch, refused
):
    scored, trouble = [], [OutputUnavailable("away", where="s3://lake", fix="wait")] * refused
    real = scoring.score_table
    monkeypatch.setattr(scoring, "score_table", lambda *words: scored.append(1) or real(*words))
    monkeypatch.setattr(
        scoring, "put", lambda *words: destination.put(*words) if not trouble else _raise(trouble.pop())
    )
    for _ in range(refused):
        with pytest.raises(OutputUnavailable):
            score(run, questions, tmp_path / "scored.csv")
    record = score(run, questions, tmp_path / "scored.csv")
    assert (len(scored), record.now) == (1, USUAL)
    assert record.scored == hashlib.sha256((tmp_path / "scored.csv").read_bytes()).hexdigest()
    assert run.store.names("unsent") == []
    score(run, questions, tmp_path / "scored.csv")
    assert len(scored) == 2


def _raise(error):
    raise error


def test_a_dry_run_watches_and_writes_no_rows(run, questions, tmp_path):
    record = score(replace(run, dry_run=True), questions, tmp_path / "scored.csv")
    assert (record.output, len(record.checks)) == ("nowhere: a dry run", 6)
    assert not (tmp_path / "scored.csv").exists()


def test_a_packed_csv_is_read(run, questions, tmp_path):
    (tmp_path / "questions.csv.gz").write_bytes(gzip.compress(questions.read_bytes()))
    assert score(run, tmp_path / "questions.csv.gz", tmp_path / "scored.csv").now == USUAL


def test_a_champion_of_before_there_were_profiles_scores_without_a_watch(tmp_path, questions, caplog):
    old = open_run(tmp_path / "old")
    crown(old, UnknownProfile())
    old = replace(old, run_id="week")
    record = score(old, questions, tmp_path / "scored.csv")
    assert (record.now.flagged, record.then, record.checks) == (220, UnknownProfile(), ())
    assert "there is no watch: champion v1 was trained before" in caplog.text
    verdict = (old.report_folder / "verdict.txt").read_text(encoding="utf-8")
    assert verdict.startswith("SCORED: what the rows of this champion's training were like is not known.")


def test_without_a_champion_it_ends_at_once_and_says_what_to_do(tmp_path):
    empty = open_run(tmp_path / "home")
    assert empty.registry.resolve(CHAMPION_ALIAS) == NoChampion()
    with pytest.raises(ConfigError, match=r"no champion yet(.|\n)*make retrain"):
        score(empty, "https://nobody.invalid/questions.csv", tmp_path / "scored.csv")


def test_without_questions_it_says_what_to_set(run, tmp_path):
    with pytest.raises(ConfigError, match=r"no questions are named(.|\n)*--source(.|\n)*SINCERE_QUESTIONS"):
        score(run, "sample:20000", tmp_path / "scored.csv")


def parquet(path: Path, texts, **columns) -> Path:
    pq.write_table(pa.table({"question_text": texts, **columns}), path)
    return path


def test_parquet_gives_parquet_with_all_columns_and_their_types(run, tmp_path):
    texts = pa.array([text for text, _ in TEXTS]).dictionary_encode()
    source = parquet(tmp_path / "q.parquet", texts, when=pa.array(range(500), pa.timestamp("ms")), tags=[["x"]] * 500)
    record = score(run, source, tmp_path / "scored.parquet")
    before, after = pq.read_table(source), pq.read_table(tmp_path / "scored.parquet")
    assert after.drop_columns(["probability", "label"]).equals(before)
    assert [str(after.schema.field(name).type) for name in ("probability", "label")] == ["float", "int8"]
    assert after["probability"].to_pylist() == pytest.approx([len(text) / 10 for text, _ in TEXTS])
    assert after["label"].to_pylist() == [int(len(text) >= 5) for text, _ in TEXTS]
    assert (record.format, record.now) == ("Parquet", USUAL)


def test_a_missing_text_has_no_score_and_its_row_stays(run, tmp_path):
    record = score(run, parquet(tmp_path / "q.parquet", ["aaaaa", None, "a"]), tmp_path / "scored.parquet")
    after = pq.read_table(tmp_path / "scored.parquet")
    assert after["label"].to_pylist() == [1, None, 0]
    assert after["probability"].to_pylist() == [0.5, None, pytest.approx(0.1)]
    assert (record.now.rows, record.now.empty, record.now.flagged) == (3, 1, 1)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"question_text": [1, 2]}, "question_text is of the type int64"),
        ({"question_text": [b"a"]}, "question_text is of the type binary"),
        ({"question_text": pa.array([b"Pok\xe9mon"]).view(pa.string())}, "a text in it is not UTF-8"),
        ({"text": ["a"]}, "no one column question_text"),
        ({"question_text": ["a"], "label": [1]}, "a column label already"),
        ({"question_text": pa.array([], pa.string())}, "no rows"),
    ],
)
def test_a_parquet_file_that_is_no_questions_is_one_clear_error(run, tmp_path, table, message):
    pq.write_table(pa.table(table), tmp_path / "q.parquet")
    refused(run, tmp_path, "q.parquet", message)


@pytest.mark.parametrize("kept", [4, 60, 400])
def test_a_parquet_file_that_is_cut_off_is_one_clear_error(run, tmp_path, kept):
    whole = parquet(tmp_path / "whole.parquet", ["abc"] * 50).read_bytes()
    (tmp_path / "q.parquet").write_bytes(whole[:kept])
    refused(run, tmp_path, "q.parquet", "broken, cut off or encrypted")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no one column question_text"),
        (b"question_text\n", "no rows"),
        (b"id,text\n1,a\n", "no one column question_text"),
        (b"question_text,probability\na,1\n", "a column probability already"),
        (b"question_text\nPok\xe9mon\n", "not UTF-8"),
        (b"id,question_text\n1,secret,2\n", "row 1 has 3 fields"),
        (b"\xd0\xcf\x11\xe0", "a workbook of Excel"),
    ],
)
def test_a_csv_that_is_no_questions_is_one_clear_error(run, tmp_path, content, message):
    (tmp_path / "q.csv").write_bytes(content)
    refused(run, tmp_path, "q.csv", message)


def test_a_folder_or_nothing_at_the_path_is_one_clear_error(run, tmp_path):
    (tmp_path / "folder").mkdir()
    refused(run, tmp_path, "folder", "a folder, not a file")
    refused(run, tmp_path, "absent.csv", "no such file")


def refused(run, tmp_path, name, message):
    with pytest.raises(DataError, match=message) as caught:
        score(run, tmp_path / name, tmp_path / "scored.out")
    assert name in caught.value.where
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "scored.out").exists()
    assert not list((run.reports.parent / "store" / "staging").glob("*/*"))


_PEAK = """
import sys, tracemalloc
import numpy as np
import pyarrow as pa
from pathlib import Path
from ml.model.profile import tally_beside
from ml.records import UnknownProfile
from ml.scoring.tables import score_table

class Half:
    threshold = 0.5
    def score(self, texts, scored=None):
        return np.full(len(texts), 0.5, np.float32)

questions, scored = map(Path, sys.argv[1:])
tracemalloc.start()
score_table(Half(), questions, scored, "it", tally_beside(UnknownProfile(), 0.5))
print((tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory()) >> 20)
"""


def highest(python, folder, name, rows):
    """Score a file of so many rows in a process of its own; return its size, and the most memory asked for, in MiB.

    What Python, numpy and Arrow ask for is counted, not what the process holds: how soon an allocator gives pages back
    depends on the clock.
    """
    letters = np.random.default_rng(rows).bytes(500 * rows).translate(b"aehinrt " * 32).decode()
    texts = [letters[first : first + 500] for first in range(0, len(letters), 500)]
    if name == "q.csv":
        write_csv(folder / name, ((text, "") for text in texts))
    else:
        pq.write_table(pa.table({"question_text": texts}), folder / name, row_group_size=rows, compression="none")
    command = [python, "-c", _PEAK, str(folder / name), str(folder / "scored")]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return (folder / name).stat().st_size >> 20, int(ended.stdout)


@pytest.mark.parametrize("name", ["q.csv", "q.parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path, python, name):
    (small_mib, once_mib), (large_mib, again_mib) = (
        highest(python, tmp_path, name, rows) for rows in (40_000, 120_000)
    )
    assert large_mib - small_mib > 35
    assert again_mib - once_mib <= 1
