import csv
import json
import os
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.mutations import try_out
from ml.errors import ConfigError, DataError, LineageError
from ml.model.predict import BATCH_TOKENS, LoadedModel, batches_by_tokens, load_model, predict_csv
from ml.records import UnknownProfile
from tests.letters import write_letter_counter


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_letter_counter(tmp_path_factory.mktemp("model"), UnknownProfile())


def test_a_loaded_model_scores_without_tf32(folder):
    tf.config.experimental.enable_tensor_float_32_execution(True)
    load_model(folder)
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.fixture(scope="module")
def model(folder) -> LoadedModel:
    return load_model(folder)


def test_several_batches_at_once_give_the_scores_of_one_after_another(model):
    texts = ["a" * (number % 90) for number in range(3000)]
    with ThreadPool(3) as pool:
        np.testing.assert_array_equal(model.score(texts, each=pool.imap), model.score(texts))
    np.testing.assert_array_equal(model.score_many(texts, "score"), model.score(texts))


def predict(model, tmp_path: Path, text: str | bytes) -> str:
    source, output = tmp_path / "questions.csv", tmp_path / "scored.csv"
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    predict_csv(model, source, output)
    return output.read_text(encoding="utf-8")


def test_scores_come_in_the_order_of_the_texts(model):
    texts = ["a" * (number % 7) for number in range(300)]
    np.testing.assert_allclose(model.score(texts), [number % 7 / 10 for number in range(300)], rtol=1e-6)


def test_a_batch_has_texts_of_similar_length_and_about_so_many_tokens():
    texts = ["a" * length for length in (0, 40, 4000, 40, 80) * 1000]
    batches = list(batches_by_tokens(texts))
    assert sorted(np.concatenate(batches)) == list(range(5000))
    for rows in batches:
        tokens = [len(texts[row]) // 4 + 2 for row in rows]
        assert len(rows) == 1 or len(rows) * min(max(tokens), 512) <= BATCH_TOKENS
    assert [len(texts[row]) for rows in batches for row in rows] == sorted(map(len, texts))
    assert len(batches) < 1000 / 3 + 2000 * 12 / BATCH_TOKENS + 1000 * (22 + 2) / BATCH_TOKENS + 5


def test_whoever_asks_is_told_how_many_rows_each_batch_had(model):
    told = []
    model.score(["a" * (number % 7) for number in range(2000)], told.append)
    assert (sum(told), len(told) > 1) == (2000, True)


def test_no_texts_give_no_scores(model):
    assert model.score([]).tolist() == []


def test_all_columns_stay_and_two_are_added(model, tmp_path):
    scored = predict(model, tmp_path, 'id,question_text,note\n7,abcde,"x, y"\n8,abc,\n')
    assert scored == 'id,question_text,note,probability,label\n7,abcde,"x, y",0.5,1\n8,abc,,0.300000012,0\n'


def test_forty_thousand_rows_stream_through_in_order(model, tmp_path):
    lines = [f"{number},{'a' * (number % 9)}" for number in range(40_000)]
    scored = predict(model, tmp_path, "\n".join(["id,question_text", *lines]) + "\n")
    rows = list(csv.DictReader(scored.splitlines()))
    assert [int(row["id"]) for row in rows] == list(range(40_000))
    assert all(float(row["probability"]) == pytest.approx(len(row["question_text"]) / 10) for row in rows)


def test_a_byte_order_mark_and_line_breaks_in_a_text_are_read(model, tmp_path):
    scored = predict(model, tmp_path, '\ufeffquestion_text\r\n"a\nb"\r\n')
    assert scored == 'question_text,probability,label\n"a\nb",0.300000012,0\n'


def test_a_blank_line_of_one_column_is_a_row(model, tmp_path):
    scored = predict(model, tmp_path, "question_text\nabcde\n\nab\n\n\nabc\n")
    rows = list(csv.reader(scored.splitlines()))
    assert [row[0] for row in rows] == ["question_text", "abcde", "", "ab", "", "", "abc"]
    assert [row[1] for row in rows[1:]] == ["0.5", "0", "0.200000003", "0", "0", "0.300000012"]


def test_a_blank_line_of_several_columns_stays_one(model, tmp_path):
    scored = predict(model, tmp_path, "\n\nid,question_text\n1,\n\n,abc\n\n")
    assert scored == "id,question_text,probability,label\n1,,0,0\n\n,abc,0.300000012,0\n\n"


def test_any_line_end_within_a_text_stays_within_it(model, tmp_path):
    predict(model, tmp_path, 'question_text\n"a\rb"\n"a\r\nb"\n')
    with (tmp_path / "scored.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["question_text", "a\rb", "a\r\nb"]


def through_pipes(model, source, output):
    """What comes out of the output's pipe, while the input's pipe is fed."""
    fed = threading.Thread(target=lambda: source.write_text("question_text\nabc\n"))
    with ThreadPoolExecutor() as pool:
        came = pool.submit(output.read_text)
        fed.start()
        predict_csv(model, source, output)
        fed.join()
        return came.result(10)


def test_pipes_are_read_and_written_and_stay_pipes(model, tmp_path):
    source, output = tmp_path / "in", tmp_path / "out"
    os.mkfifo(source)
    os.mkfifo(output)
    assert through_pipes(model, source, output) == "question_text,probability,label\nabc,0.300000012,0\n"
    assert output.is_fifo()


@pytest.fixture
def questions(tmp_path) -> Path:
    (tmp_path / "questions.csv").write_text("question_text\nabc\n")
    return tmp_path / "questions.csv"


def test_a_link_stays_a_link_and_its_file_keeps_its_mode(model, tmp_path, questions):
    (tmp_path / "kept.csv").touch(0o600)
    (tmp_path / "link.csv").symlink_to("kept.csv")
    predict_csv(model, questions, tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert stat.filemode((tmp_path / "kept.csv").stat().st_mode) == "-rw-------"
    assert (tmp_path / "kept.csv").read_text().endswith("abc,0.300000012,0\n")


def test_a_device_is_written_into_and_stays(model, questions):
    predict_csv(model, questions, Path("/dev/null"))
    assert Path("/dev/null").is_char_device()


def test_what_standard_output_goes_to_is_added_to(model, questions, tmp_path):
    with (tmp_path / "log").open("w+") as log:
        log.write("before\n")
        log.flush()
        predict_csv(model, questions, Path(f"/dev/fd/{log.fileno()}"))
        log.seek(0)
        assert log.read() == "before\nquestion_text,probability,label\nabc,0.300000012,0\n"


def test_a_socket_can_be_read(model, tmp_path):
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(b"question_text\nabc\n")
        ours.close()
        predict_csv(model, Path(f"/dev/fd/{theirs.fileno()}"), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().endswith("abc,0.300000012,0\n")


def test_a_pipe_that_nobody_reads_on_is_no_error_of_the_places(model, questions):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb"), pytest.raises(BrokenPipeError):
        predict_csv(model, questions, Path(f"/dev/fd/{write}"))


def test_a_closed_descriptor_is_an_error_of_the_places(model, tmp_path):
    with pytest.raises(ConfigError, match="Bad file descriptor"):
        predict_csv(model, Path("/dev/fd/987654"), tmp_path / "scored.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no one column question_text"),
        ("qid;question_text\n1;abc\n", "no one column question_text"),
        ("question_text,label\nabc,1\n", "a column label already"),
        ("qid,question_text\n1,a\n2,b,c\n", "row 2 has 3 fields, the header 2"),
        (b"question_text\nPok\xe9mon\n", "not UTF-8"),
        ('question_text\n"secret\n', "a quote is never closed"),
        ('question_text\n"Is \\"secret\\" hot?"\n', "marked by a backslash"),
        ("question_text\n" + "secret " * 700_000, "a line is too long"),
    ],
)
def test_what_is_no_csv_of_questions_is_refused_and_leaves_no_output(model, tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        predict(model, tmp_path, text)
    assert "secret" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["questions.csv"]


def test_a_mutated_input_gives_as_many_rows_or_one_of_our_errors():
    ended = try_out("prediction", 100)
    assert ended["read"]
    assert ended["refused"]


def test_a_missing_input_is_refused(model, tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        predict_csv(model, tmp_path / "absent.csv", tmp_path / "scored.csv")


def test_an_output_folder_that_is_missing_is_refused(model, tmp_path):
    (tmp_path / "questions.csv").write_text("question_text\nabc\n")
    with pytest.raises(ConfigError, match="there is no such folder"):
        predict_csv(model, tmp_path / "questions.csv", tmp_path / "absent" / "scored.csv")


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"threshold": "high"})])
def test_a_model_without_a_threshold_is_refused(folder, tmp_path, content):
    (tmp_path / "saved_model").symlink_to(folder / "saved_model")
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(LineageError, match="unreadable record"):
        load_model(tmp_path)
