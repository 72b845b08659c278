from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from ml.config import SplitConfig
from ml.data.normalise import hash_texts
from ml.data.split import count_conflicts, divide, split
from ml.data.validate import validate
from ml.errors import DataError, LineageError
from ml.records import DataCheck, NoChampion, RawSnapshot, ValidationReport
from ml.source.snapshot import snapshot
from tests.places import config, open_run

SALT = SplitConfig().salt
SNAPSHOT = RawSnapshot(
    source="file:a.csv",
    sha256="a" * 64,
    rows=4,
    columns=("qid", "question_text", "target"),
    bytes=1,
    quarantined_rows=0,
)
REPORT = ValidationReport(
    snapshot="a" * 64,
    since=NoChampion(),
    suite="raw",
    suite_digest="b" * 64,
    passed=True,
    worst_severity="none",
    checks=(),
)


def stored(tmp_path, texts, targets):
    places = open_run(tmp_path)
    with places.store.staging() as folder:
        qids = [f"{number:020x}" for number in range(len(texts))]
        table = pa.table({"qid": qids, "question_text": texts, "target": targets})
        pyarrow.parquet.write_table(table, folder / "rows.parquet")
        places.store.commit(folder, "snapshots", SNAPSHOT.sha256)
    return places


def ids(texts):
    return pd.factorize(pd.Series(texts))[0]


def hashes(texts, salt=SALT):
    return hash_texts([text.encode() for text in texts], salt)


def test_random_gives_the_notebooks_counts():
    targets = np.zeros(1_306_122, dtype=np.int8)
    targets[:80_810] = 1
    chosen = SplitConfig(strategy="random", train=0.1, validation=0.01, test=0.1)
    parts = divide(chosen, hashes([]), np.arange(len(targets)), targets)
    counts = {name: (int((targets[rows] == 0).sum()), int(targets[rows].sum())) for name, rows in parts.items()}
    assert counts == {"train": (122_531, 8_081), "validation": (11_028, 727), "test": (122_531, 8_081)}


def test_random_drops_a_text_that_an_earlier_part_has():
    texts = [f"text {number // 2}" for number in range(400)]
    targets = np.tile([0, 0, 1, 1], 100)
    parts = divide(
        SplitConfig(strategy="random", train=0.4, validation=0.4, test=0.2), hashes(texts), ids(texts), targets
    )
    seen = [{texts[row] for row in rows} for rows in parts.values()]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_a_hashed_row_stays_in_its_part_when_the_file_grows():
    texts = [f"text {number}" for number in range(2000)]
    targets = np.zeros(2000)
    small = divide(SplitConfig(), hashes(texts[:1000]), ids(texts[:1000]), targets[:1000])
    large = divide(SplitConfig(), hashes(texts), ids(texts), targets)
    for name in ("train", "validation", "test"):
        assert small[name].tolist() == [row for row in large[name].tolist() if row < 1000]


def test_another_salt_divides_in_another_way():
    texts = [f"text {number}" for number in range(100)]
    parts = [
        divide(SplitConfig(salt=salt), hashes(texts, salt), ids(texts), np.zeros(100))["train"].tolist()
        for salt in ("a", "b")
    ]
    assert parts[0] != parts[1]


def test_hash_takes_the_fractions_and_leaves_the_rest():
    texts = [f"text {number}" for number in range(20_000)]
    parts = divide(SplitConfig(train=0.5, validation=0.2, test=0.1), hashes(texts), ids(texts), np.zeros(20_000))
    assert [round(len(rows) / 20_000, 1) for rows in parts.values()] == [0.5, 0.2, 0.1]


def test_a_text_with_both_labels_is_one_conflict():
    assert count_conflicts(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])) == 1


def test_the_record_and_the_store_agree(tmp_path):
    texts = [f"Question {number}?" for number in range(998)] + ["Same text?", "same TEXT"]
    targets = [int(number % 4 == 0) for number in range(998)] + [0, 1]
    places = stored(tmp_path, texts, targets)
    record = split(config("sample:1"), places, SNAPSHOT, REPORT)
    assert sum(part.rows for part in record.parts) == 1000
    assert (record.duplicate_texts, record.conflicting_texts) == (1, 1)
    for part in record.parts:
        rows = pyarrow.parquet.read_table(places.store.open("splits", part.digest) / "rows.parquet")
        assert (rows.num_rows, sum(rows["target"].to_pylist())) == (part.rows, part.positives)
        assert rows.schema.field("target").type == pa.int8()
    assert split(config("sample:1"), places, SNAPSHOT, REPORT) == record


def test_one_page_shows_the_whole_file_and_each_split(tmp_path):
    settings, places = config("sample:2000"), open_run(tmp_path)
    pulled = snapshot(settings, places)
    split(settings, places, pulled, validate(settings, places, pulled))
    page = (places.report_folder / "exploration.html").read_text(encoding="utf-8")
    for heading in ("The whole file", "train", "validation", "test", "Expectations of the splits"):
        assert f"<h2>{heading}</h2>" in page
    assert page.count("<svg") == 12
    assert "texts with both labels: 0." in page
    assert page.count("<td>label balance</td>") == 1


def test_warnings_about_the_file_and_the_splits_are_carried_on(tmp_path):
    places = stored(tmp_path, [f"Question {number}?" for number in range(1000)], [int(n % 5 == 0) for n in range(1000)])
    drift = DataCheck(name="label drift", column="target", severity="warning", passed=False, observed="0.2")
    report = replace(REPORT, checks=(drift,))
    warnings = split(config("sample:1"), places, SNAPSHOT, report).warnings
    assert warnings[0] == drift
    assert [warning.name for warning in warnings[1:]] == ["insincere rows for a firm judgement"]


def test_too_small_parts_are_named_with_what_was_required(tmp_path):
    places = stored(tmp_path, [f"Question {number}?" for number in range(100)], [0, 1] * 50)
    with pytest.raises(DataError, match=r"rows in each part .* required at least 50"):
        split(config("sample:1"), places, SNAPSHOT, REPORT)
    assert not (tmp_path / "store" / "splits").exists()


@pytest.mark.parametrize("texts", [["a", "b"], []], ids=["two rows", "no rows"])
def test_one_class_only_is_an_error(tmp_path, texts):
    places = stored(tmp_path, texts, [0] * len(texts))
    with pytest.raises(DataError, match="the same label"):
        split(config("sample:1"), places, SNAPSHOT, REPORT)


def test_a_random_draw_from_too_few_rows_is_an_error(tmp_path):
    places = stored(tmp_path, ["a", "b", "c"], [0, 0, 1])
    with pytest.raises(DataError, match="cannot be divided"):
        split(config("sample:1", 'split.strategy="random"'), places, SNAPSHOT, REPORT)


def test_a_report_that_did_not_pass_is_refused(tmp_path):
    with pytest.raises(LineageError, match="did not pass"):
        split(config("sample:1"), open_run(tmp_path), SNAPSHOT, replace(REPORT, passed=False))


def test_a_report_of_another_snapshot_is_refused(tmp_path):
    with pytest.raises(LineageError, match="about snapshot cccc"):
        split(config("sample:1"), open_run(tmp_path), SNAPSHOT, replace(REPORT, snapshot="c" * 64))


def parts_of(texts, train, validation, test):
    parts = divide(
        SplitConfig(train=train, validation=validation, test=test),
        hashes(texts),
        ids(texts),
        np.zeros(len(texts), np.int8),
    )
    return {name: set(rows.tolist()) for name, rows in parts.items()}


@pytest.mark.parametrize(
    "later", [(0.1, 0.01, 0.1), (0.9, 0.0001, 0.0999), (0.5, 0.4, 0.1), (0.0001, 0.0001, 0.05)], ids=str
)
def test_any_fractions_after_any_others_judge_on_rows_that_trained_nothing(later):
    texts = [f"question number {number}" for number in range(4000)]
    before, now = parts_of(texts, 0.8, 0.1, 0.1), parts_of(texts, *later)

    assert not now["test"] & (before["train"] | before["validation"])
    assert [len(rows) for rows in before.values()] == [3225, 404, 371]


def test_fractions_nest():
    texts = [f"question number {number}" for number in range(4000)]
    small, large = parts_of(texts, 0.1, 0.01, 0.05), parts_of(texts, 0.7, 0.1, 0.2)

    assert small["train"] < large["train"]
    assert small["test"] < large["test"]
