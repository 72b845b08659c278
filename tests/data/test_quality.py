"""What the steps keep of their expectations for the page about data quality."""

import pytest

from ml.data.split import split
from ml.data.validate import validate
from ml.errors import DataError
from ml.records import DataQuality, Measured, NotMeasured, from_json
from ml.source.snapshot import snapshot
from tests.places import config, open_run


def kept(run, step):
    text = (run.report_folder / "data_quality" / f"{step}.json").read_text(encoding="utf-8")
    return from_json(text, DataQuality)


def test_a_run_keeps_what_was_measured_and_required_and_where_its_docs_are(tmp_path):
    settings, run = config("sample:2000"), open_run(tmp_path)
    pulled = snapshot(settings, run)
    report = validate(settings, run, pulled)
    split(settings, run, pulled, report)

    quality = kept(run, "validate")
    assert (quality.run_id, quality.snapshot, quality.rows) == ("run-1", pulled.sha256, 2000)
    assert [each.check for each in quality.checks] == list(report.checks)
    by_name = {each.check.name: each for each in quality.checks}
    balance = by_name["label balance"]
    assert (balance.docs, balance.required) == ("data_docs", "0.04 to 0.09")
    assert isinstance(balance.value, Measured) and 0.04 < balance.value.value < 0.09
    assert by_name["qid unique"].value == NotMeasured()
    assert {each.docs for each in kept(run, "split").checks} == {"data_docs_splits"}


def test_a_run_that_validation_ends_keeps_why(tmp_path):
    settings, run = config("sample:2000", "validate.parameters.label_balance_min=0.08"), open_run(tmp_path)
    with pytest.raises(DataError, match="label balance"):
        validate(settings, run, snapshot(settings, run))
    assert [each.check.name for each in kept(run, "validate").checks if not each.check.passed] == ["label balance"]
