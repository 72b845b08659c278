import pytest

from benchmarks.mutations import CHECKS, try_out


@pytest.mark.parametrize("kind", CHECKS.keys() - {"prediction"})
def test_a_mutated_input_is_read_or_refused_by_one_of_our_errors(kind):
    ended = try_out(kind, 100)
    assert ended["read"]
    assert ended["refused"]
