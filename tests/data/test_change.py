"""This week's file beside the one that the champion comes from."""

import logging
from dataclasses import replace

import pytest

from ml.data.split import split
from ml.data.validate import validate
from ml.errors import DataError
from ml.records import (
    ChampionSnapshot,
    NoChampion,
    SnapshotElsewhere,
    digest,
    to_json,
)
from ml.registry.local import LocalRegistry
from ml.source.snapshot import snapshot
from ml.store.files import tree_digest
from tests.judge.examples import DESCRIPTION
from tests.places import SMALL, config, open_run

LOOSE = ("validate.parameters.min_part_rows=1", "validate.parameters.min_part_positives=1")


def rows(count=200):
    return [
        [f"{number:020x}", f"Which soup number {number} is the best for a small village?", str(int(number % 4 == 0))]
        for number in range(count)
    ]


def pull(tmp_path, lines, *overrides):
    """Settings, places and snapshot of a file with these rows."""
    path = tmp_path / "questions.csv"
    path.write_text("qid,question_text,target\n" + "".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
    settings, places = config(path, *SMALL, *LOOSE, *overrides), open_run(tmp_path)
    return settings, places, snapshot(settings, places)


def crown(places, **described):
    """A champion that is described so."""
    with places.store.staging() as folder:
        (folder / "model.json").write_text(to_json(replace(DESCRIPTION, **described)), encoding="utf-8")
        version = places.registry.register(folder, tree_digest(folder))
    places.registry.move_alias("production", version.version, expected=places.registry.resolve("production"))
    return version


def changed(tmp_path, lines, *overrides):
    """The report on these rows, after a champion that comes from `rows()`."""
    _, places, before = pull(tmp_path, rows())
    crown(places, snapshot=before.sha256)
    return validate(*pull(tmp_path, lines, *overrides))


def failed(report):
    return {check.name: check.observed for check in report.checks[-7:] if not check.passed}


def page(tmp_path):
    return (tmp_path / "reports" / "run-1" / "exploration.html").read_text(encoding="utf-8")


def test_the_same_file_again_has_changed_in_nothing(tmp_path):
    report = changed(tmp_path, rows())

    assert failed(report) == {}
    assert report.since == ChampionSnapshot(version="v1", snapshot=report.snapshot)
    assert [check.observed for check in report.checks[-7:]] == ["0", "0", "0", "0", "1", "0", "0"]
    assert "Expectations of the change since the champion&#39;s file" in page(tmp_path)
    assert (tmp_path / "reports" / "run-1" / "data_docs_change" / "index.html").is_file()


def with_texts(text):
    return [[line[0], text, line[2]] for line in rows()]


CHANGES = {
    "vanished": (rows()[40:], {"ids that vanished": "0.2", "growth": "0.8"}),
    "relabelled": ([[*rows()[0][:2], "0"], *rows()[1:]], {"labels that changed": "0.005"}),
    "reworded": (
        [[line[0], line[1].replace("soup", "dish"), line[2]] for line in rows()[:50]] + rows()[50:],
        {"texts that changed": "0.25"},
    ),
    "grown": (rows(400), {"growth": "2"}),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_each_change_beyond_its_bound_is_named(tmp_path, kind):
    lines, expected = CHANGES[kind]

    assert failed(changed(tmp_path, lines)) == expected


def test_a_drift_of_labels_and_lengths_is_named(tmp_path):
    lines = [[f"f{number:019x}", "Why soup?", str(int(number % 2))] for number in range(200)]

    found = failed(changed(tmp_path, lines))

    assert found["ids that vanished"] == "1"
    assert found["label balance since the champion"] == "0.25"
    assert "text length since the champion" in found


def test_labels_that_changed_at_large_end_the_run_and_a_parameter_opens_the_bound(tmp_path):
    turned = [[*line[:2], str(1 - int(line[2]))] for line in rows()[:20]] + rows()[20:]

    with pytest.raises(DataError, match=r"labels that changed at large .*observed 0\.1") as caught:
        changed(tmp_path, turned)

    assert caught.value.where == "Data Docs at run-1/data_docs_change/index.html in the reports folder"
    assert changed(tmp_path, turned, "validate.parameters.max_relabelled_at_all=1").passed


def test_a_champion_whose_file_is_elsewhere_is_said_and_not_failed(tmp_path, caplog):
    settings, places, taken = pull(tmp_path, rows())
    crown(places, snapshot="3" * 64)

    report = validate(settings, places, taken)

    assert (report.since, report.passed) == (SnapshotElsewhere(version="v1", snapshot="3" * 64), True)
    said = "What changed since champion v1 is unknown: its file is not in this store."
    assert said in page(tmp_path)
    assert (said, logging.WARNING) in [(record.message, record.levelno) for record in caplog.records]


def test_without_a_champion_that_is_said(tmp_path):
    report = validate(*pull(tmp_path, rows()))

    assert report.since == NoChampion()
    assert "There is no champion whose file this one could be compared with." in page(tmp_path)


def test_a_change_is_on_the_page_after_the_split_and_among_its_warnings_but_splits_are_the_same(tmp_path):
    first = split(*pull(tmp_path, rows()), validate(*pull(tmp_path, rows())))
    report = changed(tmp_path, rows()[:150])
    settings, places, taken = pull(tmp_path, rows())

    again = split(settings, places, taken, replace(report, snapshot=taken.sha256))

    assert {"ids that vanished", "growth"} <= {warning.name for warning in again.warnings}
    assert "ids that vanished" in page(tmp_path)
    assert again != first
    assert digest(again) == digest(first)


def test_test_rows_that_the_champion_knows_are_found_before_the_training(tmp_path):
    settings, places, taken = pull(tmp_path, rows(400), "split.min_clean_test_rows=20")
    splits = split(settings, places, taken, validate(settings, places, taken))
    crown(places, snapshot=taken.sha256, fitted_to=(splits.part("test").digest,))

    with pytest.raises(DataError, match=r"the champion was fitted to \d+ of the \d+ test rows: 0 clean ones") as caught:
        split(settings, places, taken, validate(settings, places, taken))

    assert "split.min_clean_test_rows is 20" in caught.value.where


def test_fractions_of_another_run_leave_every_test_row_clean(tmp_path, caplog):
    settings, places, taken = pull(tmp_path, rows(400))
    splits = split(settings, places, taken, validate(settings, places, taken))
    crown(places, snapshot=taken.sha256, fitted_to=tuple(splits.part(name).digest for name in ("train", "validation")))
    other = pull(tmp_path, rows(400), "split.train=0.1", "split.validation=0.05")

    again = split(*other, validate(*other))

    assert again.part("test") == splits.part("test")
    assert "left out" not in caplog.text


def test_two_homes_and_two_run_ids_give_equal_splits(tmp_path):
    digests = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        settings, places, taken = pull(tmp_path / name, rows())
        run = replace(places, run_id=f"run-{name}", registry=LocalRegistry(tmp_path / name / "registry"))
        splits = split(settings, run, taken, validate(settings, run, taken))
        digests.append((taken.sha256, digest(splits), *(part.digest for part in splits.parts)))

    assert digests[0] == digests[1]
