"""Notices reach a webhook and a mailbox through Airflow's connections; what goes wrong is one warning and no more."""

import logging
import socket
import time
from collections.abc import Iterator

import pytest
from retraining.notices.channels import recipients, send

from tests.airflow.notices.servers import PASSWORD, SECRET, Webhook, connection, mail_server, webhook

LINES = ("Kept: champion v1 stays", "Why: no gain", "Figures: none", "What to do: nothing", "Where: http://airflow/x")


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """A webhook that everything is sent to."""
    with webhook() as hook:
        monkeypatch.setenv("AIRFLOW_CONN_TEAM", connection(hook.address))
        monkeypatch.setenv("SINCERE_NOTIFY", "all=team")
        yield hook


def test_without_a_setting_nobody_is_told(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SINCERE_NOTIFY")
    send("kept", LINES)
    assert hook.posted == []


@pytest.mark.parametrize(
    ("event", "kind"), [("promoted", "success"), ("kept", "info"), ("late", "warning"), ("failed", "failure")]
)
def test_a_webhook_gets_title_lines_and_kind(hook: Webhook, event: str, kind: str) -> None:
    send(event, LINES)
    (posted,) = hook.posted
    assert (posted["title"], posted["message"], posted["type"]) == (LINES[0], "\n".join(LINES[1:]), kind)


def test_a_mailbox_gets_subject_and_lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with mail_server() as (address, mails):
        monkeypatch.setenv("AIRFLOW_CONN_MAIL", connection(address))
        monkeypatch.setenv("SINCERE_NOTIFY", "kept=mail")
        send("kept", LINES)
    (mail,) = mails
    assert (mail["Subject"], mail["To"]) == (LINES[0], "ops@example.com")
    parts = [part.get_payload(decode=True).decode() for part in mail.walk() if not part.is_multipart()]
    assert any(all(line in part for line in LINES[1:]) for part in parts)
    assert [record for record in caplog.records if record.name.startswith("retraining")] == []


def test_the_setting_may_be_a_variable_of_airflow(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SINCERE_NOTIFY")
    monkeypatch.setenv("AIRFLOW_VAR_SINCERE_NOTIFY", "kept=team")
    send("kept", LINES)
    assert hook.titles == [LINES[0]]


def test_a_setting_that_cannot_be_read_is_one_warning(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object, **__: object) -> str:
        raise ConnectionError("the database is away, at its secret address")

    monkeypatch.delenv("SINCERE_NOTIFY")
    monkeypatch.setattr("retraining.source.Variable.get", away)
    send("kept", LINES)
    assert caplog.messages == ["the setting sincere_notify cannot be read (ConnectionError): nobody is told"]
    assert hook.posted == []


def test_a_connection_that_cannot_be_opened_is_one_warning_and_the_others_are_told(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    get = AppriseHook.get_connection

    def away(cls: type[AppriseHook], name: str) -> object:
        if name == "away":
            raise ConnectionError("its secret address")
        return get(name)

    monkeypatch.setattr(AppriseHook, "get_connection", classmethod(away))
    monkeypatch.setenv("SINCERE_NOTIFY", "kept=away,team")
    send("kept", LINES)
    assert hook.titles == [LINES[0]]
    (warning,) = caplog.messages
    assert warning == "nobody is told by the connection away: it cannot be opened (ConnectionError)"


@pytest.mark.parametrize(
    ("event", "names"),
    [
        ("promoted", ["team", "archive"]),
        ("failed", ["team", "oncall", "archive"]),
        ("late", ["oncall", "team", "archive"]),
        ("kept", ["archive"]),
    ],
)
def test_each_event_goes_to_those_whom_the_setting_names_once(event: str, names: list[str]) -> None:
    setting = " promoted, failed = team ; failed,late=oncall,team\nall=archive;"
    assert recipients(setting, event) == names


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("faild=oncall; failed=team", "unknown event 'faild'"),
        ("oncall; failed=team", "'oncall' is not EVENTS=CONNECTIONS"),
        ("failed=; failed=team", "'failed=' is not EVENTS=CONNECTIONS"),
        ("=oncall; failed=team", "'=oncall' is not EVENTS=CONNECTIONS"),
    ],
)
def test_a_part_of_the_setting_that_is_wrong_is_one_warning_and_the_rest_holds(
    setting: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert recipients(setting, "failed") == ["team"]
    (warning,) = caplog.messages
    assert warning.startswith(f"SINCERE_NOTIFY: {problem}; the events are all, promoted, kept, inconclusive, blocked,")


def test_a_dead_channel_is_one_warning_and_the_others_are_told(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as closed:  # bound, not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        address = f"json://127.0.0.1:{closed.getsockname()[1]}/{SECRET}"
        monkeypatch.setenv("AIRFLOW_CONN_DEAD", connection(address))
        monkeypatch.setenv("SINCERE_NOTIFY", "kept=dead,team")
        send("kept", LINES)
    assert hook.titles == [LINES[0]]
    (warning,) = caplog.messages
    assert warning.startswith("nobody is told by the connection dead: A Connection error occurred sending JSON")


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_channel_that_refuses_is_one_warning(hook: Webhook, status: int, caplog: pytest.LogCaptureFixture) -> None:
    hook.status = status
    send("kept", LINES)
    (warning,) = caplog.messages
    assert warning.startswith("nobody is told by the connection team: Failed to send JSON")
    assert str(status) in warning


def test_channels_that_do_not_answer_are_given_up_together(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hook.silent = True
    monkeypatch.setattr("retraining.notices.channels._SECONDS", 4)
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection([{"path": hook.address}, {"path": f"{hook.address}/2"}]))
    monkeypatch.setenv("SINCERE_NOTIFY", "all=team,other")
    start = time.monotonic()
    send("kept", LINES)
    assert time.monotonic() - start < 8  # what two would take one after the other
    told = list(caplog.messages)
    with caplog.at_level(logging.INFO, "apprise"):
        hook.end.set()
        until = time.monotonic() + 60
        while caplog.text.count("Sent JSON") < 3 and time.monotonic() < until:
            time.sleep(0.01)  # else the sendings would come to their ends, and say so, in a later test
    assert [message.split(":")[0] for message in told] == [
        "nobody is told by the connection team",
        "nobody is told by the connection other",
    ]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (connection("slack://bad"), "Apprise cannot read its address"),
        (connection(f"nonesuch://{SECRET}/x"), "Apprise cannot read its address"),
        (connection([{"path": "json://127.0.0.1:9/"}, {"path": f"nonesuch://{SECRET}"}]), "Apprise cannot read"),
        ('{"conn_type": "apprise"}', 'its field config is no {"path": ADDRESS}'),
        ('{"conn_type": "apprise", "extra": {"config": "T0KEN-of-the-channel"}}', "its field config is no"),
        ('{"conn_type": "apprise", "extra": {"config": [1]}}', "its field config is no"),
    ],
    ids=["too short", "no such service", "one of two", "empty", "no JSON", "a number"],
)
def test_a_connection_that_cannot_be_used_is_one_warning(
    given: str, problem: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TEAM", given)
    monkeypatch.setenv("SINCERE_NOTIFY", "all=team")
    send("kept", LINES)
    (warning,) = caplog.messages
    assert warning.startswith(f"nobody is told by the connection team: {problem}")
    assert SECRET not in warning


def test_a_connection_that_is_not_there_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SINCERE_NOTIFY", "all=nonesuch")
    send("kept", LINES)
    assert caplog.messages == ["nobody is told by the connection nonesuch: there is no such connection"]


@pytest.mark.parametrize("status", [200, 403])
def test_no_log_has_a_part_of_an_address_at_any_level(
    hook: Webhook, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    hook.status = status
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "apprise"):
        send("kept", LINES)
    assert len(hook.posted) == 1
    assert [line for line in caplog.text.splitlines() if SECRET in line or PASSWORD in line] == []
