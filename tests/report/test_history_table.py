from dataclasses import replace

from ml.records import ChampionFigures
from ml.report.history_table import history_text
from tests.judge.examples import FIRST_ENTRY, RIVAL

WATCH = ChampionFigures(version="v1", rows=1000, precision=0.65, recall=0.55, average_precision=0.68)


def test_the_history_is_a_table_with_a_line_for_each_decision():
    kept = replace(
        FIRST_ENTRY,
        time="2026-01-11T00:00:00+00:00",
        verdict="keep",
        version="v2",
        previous=RIVAL.champion,
        watch=WATCH,
    )

    assert history_text([FIRST_ENTRY, kept]) == (
        "time                       verdict  version  champion before  precision  recall      F1  av. precision"
        "  its precision  its recall\n"
        "2026-01-04T00:00:00+00:00  promote  v1       none                0.7000  0.6000  0.6462         0.6800"
        "           none        none\n"
        "2026-01-11T00:00:00+00:00  keep     v2       v1                  0.7000  0.6000  0.6462         0.6800"
        "         0.6500      0.5500"
    )


def test_an_empty_history_says_so():
    assert history_text([]) == "no decision was carried out yet"


def test_a_rollback_in_the_history_says_why_and_by_whom():
    back = replace(
        FIRST_ENTRY, verdict="rollback", reason="too many false alarms", triggered_by="Airflow, manual run by eve"
    )

    assert history_text([back]).splitlines()[-1] == "    too many false alarms (Airflow, manual run by eve)"
