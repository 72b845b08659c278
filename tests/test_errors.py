"""What is tried again, and what waits for a person."""

import errno
from pathlib import Path

import pytest

from ml.errors import ConfigError, LineageError, OutOfResources, PlaceError, foreseen

HOME = Path("/home/of/jane/var")


def told(error):
    return next(foreseen(error, HOME), None)


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EIO", "ESTALE", "ETIMEDOUT", "ENOMEM", "EMFILE", "ECONNRESET"])
def test_trouble_of_a_disk_or_a_machine_is_tried_again(name):
    ours = told(OSError(getattr(errno, name), "text"))
    assert (type(ours), ours.exit_status) == (OutOfResources, 75)


@pytest.mark.parametrize("name", ["EACCES", "EPERM", "EROFS", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP", "ENOENT"])
def test_a_place_that_cannot_be_used_waits_for_a_person_and_is_named_without_its_path(name):
    ours = told(OSError(getattr(errno, name), "text", f"{HOME}/store/{'x' * 300}"))
    assert (type(ours), ours.exit_status) == (PlaceError, 65)
    assert "SINCERE_HOME: store/xxx" in str(ours)
    assert "jane" not in str(ours)
    assert len(str(ours)) < 350


def test_a_place_elsewhere_is_named_by_its_last_part():
    assert "where: a.csv" in str(told(PermissionError(errno.EACCES, "text", "/secret/place/a.csv")))


@pytest.mark.parametrize("error", [MemoryError("text"), TimeoutError("text"), ConnectionResetError("text")])
def test_what_ran_out_is_tried_again_without_its_text(error):
    assert isinstance(told(error), OutOfResources)
    assert "text" not in str(told(error))


def test_a_gpu_without_memory_is_tried_again_and_a_wrong_shape_is_not():
    import tensorflow as tf

    nodes = (None, None)
    for error in (
        tf.errors.ResourceExhaustedError(*nodes, "OOM when allocating tensor"),
        tf.errors.InternalError(*nodes, "Failed to allocate 4 bytes: CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        tf.errors.UnknownError(*nodes, "var/x; No space left on device"),
    ):
        assert isinstance(told(error), OutOfResources)
    for error in (tf.errors.InvalidArgumentError(*nodes, "shapes"), tf.errors.InternalError(*nodes, "Blas failed")):
        assert told(error) is None


def test_a_full_disk_behind_another_librarys_error_is_tried_again_and_a_bug_stays_one():
    try:
        try:
            raise OSError(errno.ENOSPC, "text")
        except OSError as cause:
            raise ValueError("a library's own") from cause
    except ValueError as error:
        assert isinstance(told(error), OutOfResources)
    try:
        try:
            raise FileNotFoundError(errno.ENOENT, "text")
        except OSError:
            {}["bug"]
    except KeyError as error:
        assert told(error) is None


@pytest.mark.parametrize("kind", [ConfigError, LineageError])
def test_an_error_of_ours_stays_as_it_is(kind):
    error = kind("what", where="where", fix="fix")
    assert told(error) is error
