from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest

from ml.config import SplitConfig
from ml.data.contamination import leave_out_seen
from ml.data.normalise import hash_texts
from ml.data.rows import read_part, store_part
from ml.data.split import divide
from ml.records import Contamination, UnknownContamination, to_json
from ml.store import Store
from tests.judge.examples import DESCRIPTION


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def keep(store, name, texts, targets):
    columns = {
        "qid": [f"{name}-{number}" for number in range(len(texts))],
        "question_text": texts,
        "target": pa.array(targets, pa.int8()),
    }
    return store_part(store, name, pa.table(columns))


def describe(folder, *fitted_to):
    """Write the folder of a champion that was fitted to these parts."""
    folder.mkdir()
    described = replace(DESCRIPTION, fitted_to=tuple(part.digest for part in fitted_to))
    (folder / "model.json").write_text(to_json(described))
    return folder


def test_rows_of_the_champions_training_are_left_out_and_counted(store, tmp_path):
    train = keep(store, "train", ["Why is it so?", "how"], [0, 1])
    validation = keep(store, "validation", ["where"], [0])
    test = keep(store, "test", ["why is it so", "WHERE?", "when", "who"], [0, 0, 0, 1])

    kept, contamination = leave_out_seen(
        SplitConfig(min_clean_test_rows=2), store, test, describe(tmp_path / "champion", train, validation)
    )

    assert contamination == Contamination(rows=2)
    assert (kept.name, kept.rows, kept.positives) == ("test", 2, 1)
    assert read_part(store, kept)["question_text"].tolist() == ["when", "who"]


def test_rows_that_a_warm_started_candidates_ancestor_knows_are_left_out_too(store, tmp_path):
    before, now = keep(store, "train", ["why"], [0]), keep(store, "train", ["how"], [1])
    test = keep(store, "test", ["why", "when", "who"], [0, 0, 1])
    champion, candidate = describe(tmp_path / "champion", now), describe(tmp_path / "candidate", before, now)

    kept, contamination = leave_out_seen(SplitConfig(min_clean_test_rows=2), store, test, champion, candidate)

    assert contamination == Contamination(rows=1)
    assert read_part(store, kept)["question_text"].tolist() == ["when", "who"]


def test_without_a_shared_text_the_test_rows_stay_as_they_are(store, tmp_path):
    train, test = keep(store, "train", ["why"], [0]), keep(store, "test", ["when", "who"], [0, 1])

    assert leave_out_seen(SplitConfig(min_clean_test_rows=2), store, test, describe(tmp_path / "champion", train)) == (
        test,
        Contamination(rows=0),
    )


def test_the_hash_split_of_a_grown_file_shares_no_row_with_the_training_before(store, tmp_path):
    texts = [f"question number {number}" for number in range(400)]
    config = SplitConfig(train=0.6, validation=0.2, test=0.2)

    def part(name, texts):
        hashes = hash_texts([text.encode() for text in texts], config.salt)
        numbers = divide(config, hashes, pd.factorize(pd.Series(texts))[0], pd.Series([0] * len(texts)).to_numpy())
        chosen = [texts[number] for number in numbers[name]]
        return keep(store, name, chosen, [0] * len(chosen))

    before = [part(name, texts[:200]) for name in ("train", "validation")]
    _, contamination = leave_out_seen(
        SplitConfig(min_clean_test_rows=2), store, part("test", texts), describe(tmp_path / "champion", *before)
    )

    assert contamination == Contamination(rows=0)


def test_where_the_training_rows_are_not_in_this_store_nothing_is_left_out(store, tmp_path, caplog):
    test = keep(store, "test", ["when", "who"], [0, 1])
    (tmp_path / "model.json").write_text(to_json(DESCRIPTION))

    assert leave_out_seen(SplitConfig(min_clean_test_rows=2), store, test, tmp_path) == (test, UnknownContamination())
    assert "is not known here" in caplog.text
