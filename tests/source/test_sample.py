import csv

import pytest

from ml.errors import ConfigError
from ml.source.sample import write_sample
from ml.source.snapshot import snapshot
from tests.places import config, open_run


def test_the_same_rows_and_seed_give_the_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_sample(tmp_path / name, 500, seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_sample_has_the_shape_of_the_real_file(tmp_path):
    write_sample(tmp_path / "sample.csv", 1000, 42)
    with (tmp_path / "sample.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["target"] == "1" for row in rows) == 62
    assert len({row["qid"] for row in rows}) == len(rows) == 1000
    assert all(len(row["qid"]) == 20 and int(row["qid"], 16) >= 0 for row in rows)
    assert all(row["question_text"].endswith("?") and "{" not in row["question_text"] for row in rows)


def test_a_sample_can_be_a_source(tmp_path):
    record = snapshot(config("sample:200:7"), open_run(tmp_path))
    assert (record.source, record.rows) == ("sample:200:7", 200)


def test_a_sample_without_a_number_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="names no sample"):
        snapshot(config("sample:many"), open_run(tmp_path))
