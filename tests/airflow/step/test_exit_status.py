"""What Airflow and people are told of a step's process that could not tell it itself."""

import signal

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from retraining.step.exit_status import end_of, has_told, raise_for_status


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGALRM, signal.SIGKILL])
@pytest.mark.parametrize("of_a_shell", [False, True])
def test_a_signal_is_told_whoever_reports_it_and_the_step_is_tried_again(by: int, of_a_shell: bool) -> None:
    words = {
        signal.SIGTERM: ("was told to end", "a training goes on from where it was"),
        signal.SIGALRM: ("waited in vain for another machine", "reach each other's addresses"),
        signal.SIGKILL: ("was killed by signal 9", "give it more memory"),
    }
    status = 128 + by if of_a_shell else -by
    end = end_of("train", status)
    assert words[by][0] in end["what"]
    assert words[by][1] in end["fix"]
    assert not has_told(status)
    with pytest.raises(AirflowException, match=words[by][0]) as raised:
        raise_for_status("train", status)
    assert not isinstance(raised.value, AirflowFailException)


def test_any_other_end_is_for_a_person_to_look_at() -> None:
    assert end_of("split", 3)["fix"] == "see the log of its task"
    with pytest.raises(AirflowFailException, match="step split stopped with status 3"):
        raise_for_status("split", 3)
