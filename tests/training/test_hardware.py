import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ml.training.hardware import choose_precision, choose_widths

PROJECT = Path(__file__).parents[2]


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
    ("tokens", "widths"), [(128, (16, 32, 64, 128)), (100, (16, 32, 64, 100)), (16, (16,)), (8, (8,))]
)
def test_widths_are_few_and_never_beyond_the_tokens_of_a_text(tokens, widths):
    assert choose_widths(tokens) == widths


@pytest.mark.parametrize(
    ("replicas", "numbers"),
    [
        # Numbers in the format's own digits: how far one device and several may be apart.
        (2, {"float32+xla": 1e-5, "mixed_bfloat16": 0.1}),
        (4, {"float32": 1e-5, "mixed_float16": 0.1}),
    ],
)
def test_all_replicas_stay_equal_in_all_variables_and_give_what_one_device_gives(
    tiny_encoder, tmp_path, replicas, numbers
):
    encoder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    command = [sys.executable, "-m", "tests.training.replicas", str(encoder), str(replicas), *numbers]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(numbers)
    for number, variables, apart, weights, losses in lines:
        assert (number, variables, apart) == (number, "76", "0")
        assert float(weights) < numbers[number]
        assert float(losses) < numbers[number]
