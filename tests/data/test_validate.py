import json
import re

import pytest

from ml.config import PROJECT, ValidateConfig
from ml.data.expectations.suites import read_suites
from ml.data.validate import validate
from ml.errors import ConfigError, DataError
from ml.source.snapshot import snapshot
from ml.steps import run_step
from tests.places import SMALL, config, open_run


def rows(count=100, positives=6, *, text="Which soup number {} is the best for a small village?"):
    return [(f"{number:020x}", text.format(number), str(int(number < positives))) for number in range(count)]


def run(tmp_path, lines, *overrides, header="qid,question_text,target"):
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "questions.csv"
    path.write_text("\n".join([header, *(",".join(line) for line in lines)]) + "\n", encoding="utf-8")
    settings, places = config(path, *overrides), open_run(tmp_path)
    return validate(settings, places, snapshot(settings, places))


def failure(tmp_path, lines, *overrides, **how):
    with pytest.raises(DataError) as caught:
        run(tmp_path, lines, SMALL[0], *overrides, **how)
    return str(caught.value)


def test_a_generated_sample_holds_every_expectation(tmp_path):
    settings, places = config("sample:2000"), open_run(tmp_path)
    report = validate(settings, places, snapshot(settings, places))
    assert report.passed
    assert report.worst_severity == "none"
    assert (places.report_folder / "data_docs" / "index.html").is_file()
    assert (places.report_folder / "exploration.html").read_text(encoding="utf-8").count("<svg") == 3


def test_data_docs_open_at_the_result_and_bring_a_style_of_their_own(tmp_path):
    run(tmp_path, rows(), SMALL[0])

    index = tmp_path / "reports" / "run-1" / "data_docs" / "index.html"
    (address,) = re.findall(r'href="([^"]+)"', index.read_text(encoding="utf-8"))
    page = (index.parent / address).read_text(encoding="utf-8")
    assert page.index(".fa-check-circle::before") < page.index("bootstrap.min.css")


def test_rows_are_not_hashed_for_a_mark_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr("pandas.util.hash_pandas_object", lambda *_, **__: pytest.fail("the rows are hashed"))
    assert run(tmp_path, rows(), SMALL[0]).passed


def test_what_was_compiled_for_one_suite_serves_all_later_ones(tmp_path, monkeypatch):
    run(tmp_path, rows(), SMALL[0])
    monkeypatch.setattr("jinja2.Environment.compile", lambda *_, **__: pytest.fail("a template is compiled again"))
    assert run(tmp_path / "later", rows(), SMALL[0]).passed


def test_counts_on_a_log_scale_stand_as_plain_numbers(tmp_path):
    settings, places = config("sample:2000"), open_run(tmp_path)
    validate(settings, places, snapshot(settings, places))
    page = (places.report_folder / "exploration.html").read_text(encoding="utf-8")
    assert re.findall(r">(1[0,]*)</text>", page)[:2] == ["100", "1,000"]


def test_a_warning_is_carried_on(tmp_path):
    report = run(tmp_path, rows(text="Soup {}?"), SMALL[0])
    assert (report.passed, report.worst_severity) == (True, "warning")
    assert [check.name for check in report.checks if not check.passed] == ["text length drift"]


def test_a_critical_failure_says_what_was_observed_and_required_and_where_to_look(tmp_path):
    message = failure(tmp_path, rows(positives=40))
    assert "label balance (target): observed 0.4, required 0.04 to 0.09." in message
    assert "run-1/data_docs/index.html" in message
    assert (tmp_path / "reports" / "run-1" / "data_docs" / "index.html").is_file()
    assert (tmp_path / "reports" / "run-1" / "exploration.html").is_file()


def test_a_parameter_opens_a_bound(tmp_path):
    assert run(tmp_path, rows(positives=40), *SMALL).passed


def test_damaged_text_is_named_and_never_shown(tmp_path):
    message = failure(tmp_path, rows(text="Who caught PokÃ©mon number {} on the way to a village?"))
    assert "damaged text (question_text (damaged)): observed 1, required at most 0.005" in message
    assert "Pok" not in message
    pages = [page.read_text(encoding="utf-8") for page in (tmp_path / "reports").rglob("*.html")]
    assert not any("caught" in page for page in pages)


def test_a_missing_column_could_not_be_checked(tmp_path):
    message = failure(tmp_path, [line[:2] for line in rows()], header="qid,question_text")
    assert "columns (table): observed missing target" in message
    assert "label balance (target): observed nothing: could not be checked, the column is missing" in message


@pytest.mark.parametrize("extra", ["extra", "text_damaged"])
def test_an_extra_column_is_named(tmp_path, extra):
    message = failure(tmp_path, [(*line, "x") for line in rows()], header=f"qid,question_text,target,{extra}")
    assert f"columns (table): observed unexpected {extra}" in message


def test_no_file_has_a_column_named_as_a_measure_of_the_texts(tmp_path):
    header = "qid,question_text,target,question_text (damaged)"
    message = failure(tmp_path, [(*line, "x") for line in rows()], header=header)
    assert "the first line is not a header" in message


BROKEN = {
    "qid unique": lambda line: ("0" * 20, *line[1:]),
    "qid form": lambda line: (f"x{line[0][1:]}", *line[1:]),
    "qid present": lambda line: ("", *line[1:]),
    "text present": lambda line: (line[0], "", line[2]),
    "text length": lambda line: (line[0], " ", line[2]),
    "target present": lambda line: (*line[:2], ""),
    "target values": lambda line: (*line[:2], "2"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_fails_the_expectation_about_it(tmp_path, name):
    lines = rows()
    lines[50:52] = [BROKEN[name](line) for line in lines[50:52]]
    assert f"- {name} (" in failure(tmp_path, lines)


def test_too_few_rows_are_named(tmp_path):
    with pytest.raises(DataError, match=r"row count \(table\): observed 100, required 1,000 to"):
        run(tmp_path, rows())


def test_an_unknown_parameter_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="no suite has a parameter 'label_balanse'"):
        run(tmp_path, rows(), "validate.parameters.label_balanse=1")


def test_an_expectation_that_great_expectations_would_leave_out_is_a_config_error(tmp_path, caplog):
    message = r"knows no expect_magic with these kwargs\n  where: mine.json, expectation 1 \(row count\)"
    with pytest.raises(ConfigError, match=message):
        read_suites(suite_of_one(tmp_path / "mine.json", type="expect_magic"))
    assert caplog.text == ""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_suites(suite_of_one(tmp_path / "mine.json", kwargs={"min_vale": 1}))


def suite_of_one(path, **changes):
    expectation = {
        "type": "expect_table_row_count_to_be_between",
        "kwargs": {"min_value": {"$PARAMETER": "min_rows"}},
        "severity": "critical",
        "meta": {"name": "row count", "notes": "Too few rows."},
    }
    suite = {"name": "mine", "meta": {"parameters": {"min_rows": 1}}, "expectations": [{**expectation, **changes}]}
    path.write_text(json.dumps(suite), encoding="utf-8")
    return ValidateConfig(raw_suite=str(path))


INCOMPLETE = {
    "no meta": ({"meta": None}, r"no meta.name\n  where: mine.json, expectation 1 \(expect_table_row_count"),
    "no notes": ({"meta": {"name": "row count"}}, r"no meta.notes\n  where: mine.json, expectation 1 \(row count\)"),
    "no severity": ({"severity": None}, r"no severity\n  where: mine.json, expectation 1 \(row count\)"),
    "unknown severity": ({"severity": "grave"}, "no severity"),
    "unknown parameter": ({"kwargs": {"min_value": {"$PARAMETER": "min_row"}}}, "no parameter 'min_row'"),
}


@pytest.mark.parametrize("kind", INCOMPLETE)
def test_an_incomplete_expectation_is_named(tmp_path, kind):
    changes, message = INCOMPLETE[kind]
    with pytest.raises(ConfigError, match=message):
        read_suites(suite_of_one(tmp_path / "mine.json", **changes))


UNFIT = {
    "no parameters": ({"name": "mine", "meta": {}, "expectations": []}, "no meta.parameters"),
    "no meta": ({"name": "mine", "expectations": []}, "no meta, or"),
    "a parameter that is a word": ({"name": "m", "meta": {"parameters": {"a": "x"}}, "expectations": []}, "a, or not"),
    "no name": ({"meta": {"parameters": {}}, "expectations": []}, "no name"),
    "an expectation without kwargs": (
        {"name": "mine", "meta": {"parameters": {}}, "expectations": [{"type": "expect_table_row_count_to_equal"}]},
        "no expectations.0.kwargs",
    ),
    "a list": ([], "no JSON object"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_a_suite_that_lacks_a_part_is_one_clear_error(tmp_path, kind):
    content, message = UNFIT[kind]
    (tmp_path / "mine.json").write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(ConfigError, match=message) as caught:
        read_suites(ValidateConfig(raw_suite=str(tmp_path / "mine.json")))

    assert (caught.value.where, "{} where a suite has none" in caught.value.fix) == ("mine.json", True)


def test_a_suite_of_sixty_expectations_goes_through(tmp_path):
    suite = json.loads((PROJECT / "expectations" / "raw.json").read_text(encoding="utf-8"))
    present = suite["expectations"][2]
    more = [{**present, "meta": {**present["meta"], "name": f"qid present, {number}"}} for number in range(47)]
    suite["expectations"] += more
    (tmp_path / "mine.json").write_text(json.dumps(suite), encoding="utf-8")
    table = tmp_path / "questions.csv"
    table.write_text("qid,question_text,target\n" + "".join(",".join(line) + "\n" for line in rows()), encoding="utf-8")
    settings = config(table, *SMALL, f'validate.raw_suite="{tmp_path}/mine.json"')
    places = open_run(tmp_path)
    taken = run_step("snapshot", settings, places, ())

    report = run_step("validate", settings, places, (taken,))

    assert len(report.checks) == 60
    assert "qid present, 46" in (places.report_folder / "exploration.html").read_text(encoding="utf-8")


def test_a_relative_suite_is_the_projects_or_one_in_the_current_folder_and_a_tilde_is_the_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    suite_of_one(tmp_path / "mine.json")

    for name in ("mine.json", "~/mine.json"):
        assert read_suites(ValidateConfig(raw_suite=name)).raw.name == "mine"
    assert read_suites(ValidateConfig()).raw.name == "raw"


def test_mathematics_in_the_target_column_are_text_on_the_page(tmp_path):
    lines = [
        (*line[:2], value) for line, value in zip(rows(), [r"$\frac{$", "$$", r"\$a$", "Ärger", "1"] * 20, strict=True)
    ]

    assert "target values" in failure(tmp_path, lines)

    page = (tmp_path / "reports" / "run-1" / "exploration.html").read_text(encoding="utf-8")
    assert r"$\frac{$" in page


@pytest.mark.parametrize(
    ("kind", "observed"),
    [("distinct_values_to_be_in_set", "100 values against it"), ("most_common_value_to_be_in_set", "100 values")],
)
def test_no_value_of_a_column_gets_into_a_record(tmp_path, kind, observed):
    kwargs = {"column": "question_text", "value_set": ["soup"]}
    suite = suite_of_one(tmp_path / "mine.json", type=f"expect_column_{kind}", severity="info", kwargs=kwargs)

    report = run(tmp_path, rows(), f'validate.raw_suite="{suite.raw_suite}"')

    assert (report.checks[0].passed, report.checks[0].observed) == (False, observed)


def test_the_shipped_suites_use_each_of_their_parameters():
    for suite in read_suites(ValidateConfig()):
        used = set(re.findall(r'"\$PARAMETER": "(\w+)"', json.dumps(suite.content)))
        assert used == set(suite.parameters)
