import subprocess

import pytest
import tensorflow as tf

from ml.training.hardware import choose_precision, choose_widths, multiplies_bfloat16, tf32
from tests.training.replicas import trained_on


@pytest.mark.parametrize(
    ("gpus", "flags", "precision"),
    [
        ([(9, 0)], set(), "mixed_bfloat16"),
        ([(7, 5)], {"avx512_bf16"}, "mixed_float16"),
        ([(8, 0), (7, 0)], set(), "mixed_float16"),
        ([(6, 1)], {"avx512_bf16"}, "float32"),
        ([], {"fma", "avx512_bf16"}, "mixed_bfloat16"),
        ([], {"amx_bf16"}, "mixed_bfloat16"),
        ([], {"avx2", "fma"}, "float32"),
    ],
)
def test_the_precision_is_one_that_the_hardware_multiplies(gpus, flags, precision):
    assert choose_precision(gpus, flags) == precision


@pytest.mark.parametrize(
    ("told", "multiplies"),
    [("flags\t: fma avx512_bf16\n", True), ("flags\t: fma avx2\n", False), ("", False), (None, False)],
)
def test_without_a_gpu_the_cpus_flags_say_whether_it_multiplies_bfloat16(tmp_path, monkeypatch, told, multiplies):
    monkeypatch.setattr("ml.training.hardware._CPU_INFO", tmp_path / "cpuinfo")
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    assert multiplies_bfloat16() is multiplies


@pytest.mark.parametrize(
    ("tokens", "widths"), [(128, (16, 32, 64, 128)), (100, (16, 32, 64, 100)), (16, (16,)), (8, (8,))]
)
def test_widths_are_few_and_never_beyond_the_tokens_of_a_text(tokens, widths):
    assert choose_widths(tokens) == widths


def test_each_part_of_a_batch_has_its_share_of_the_cores(python):
    shared = "import tensorflow as tf; from ml.training.hardware import count_cores, share_cores; share_cores(); "
    told = "print(count_cores(), tf.config.threading.get_intra_op_parallelism_threads())"
    done = subprocess.run([python, "-c", shared + told], check=True, capture_output=True, text=True)
    cores, threads = map(int, done.stdout.split())
    assert threads == max(1, cores // 2)


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_on_only_while_it_is_allowed_also_after_an_error(allowed):
    with pytest.raises(KeyError), tf32(allowed=allowed):
        assert tf.config.experimental.tensor_float_32_execution_enabled() is allowed
        raise KeyError
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.mark.parametrize(
    ("replicas", "formats"),
    [(2, ("float32+xla", "mixed_bfloat16+xla")), (3, ("float32", "mixed_float16"))],
)
def test_all_replicas_stay_equal_in_all_variables_and_give_what_one_device_gives(tmp_path, python, replicas, formats):
    """A part of what `python -m tests.training.replicas` trains."""
    results = list(trained_on(python, replicas, tmp_path, formats))
    assert [each.numbers for each in results] == list(formats)
    assert {each.variables for each in results} == {76}
    assert [each for each in results if not each.is_right] == []
