"""TensorFlow set up for this machine: seeds, number format, XLA, and one or several devices."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf
import tf_keras

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
_WIDTHS = (16, 32, 64, 128, 256)
_CPU_INFO = Path("/proc/cpuinfo")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How training runs.

    Where there are `widths`, in tokens, each batch has one of them, and all have the same number of rows: the compiler
    works anew for each shape. Where there are none, a batch is as wide as its longest text.
    """

    precision: Precision
    jit_compile: bool
    strategy: Any
    widths: tuple[int, ...]


def prepare_runtime(
    *, precision: Literal["auto"] | Precision, seed: int, max_tokens: int, deterministic: bool = True
) -> Runtime:
    """Seed everything and choose by the hardware; on the CPU the same seed gives the same weights, bit for bit.

    Not `deterministic` where a model has random operations of its own that bear no seed: TensorFlow refuses those then.

    XLA is for GPUs: on a CPU it made steps two to three times slower.
    """
    tf_keras.backend.clear_session()  # layers are numbered by process, and their names go into the exported file
    tf_keras.utils.set_random_seed(seed)
    gpus = tf.config.list_physical_devices("GPU")
    if deterministic and not gpus:
        tf.config.experimental.enable_op_determinism()
    runtime = Runtime(
        precision=choose_precision(_capabilities(gpus), _cpu_flags()) if precision == "auto" else precision,
        jit_compile=bool(gpus),
        strategy=choose_strategy(tf.config.list_logical_devices("GPU")),
        widths=choose_widths(max_tokens) if gpus else (),
    )
    logger.info(
        "training in %s on %s, XLA %s",
        runtime.precision,
        f"{len(gpus)} GPU" if gpus else "the CPU",
        "on" if runtime.jit_compile else "off",
    )
    return runtime


def choose_precision(gpu_capabilities: list[tuple[int, int]], cpu_flags: set[str]) -> Precision:
    """bfloat16 where hardware multiplies it: GPUs from 8.0, CPUs with AVX512-BF16 or AMX. float16: GPUs from 7.0."""
    if gpu_capabilities:
        weakest = min(gpu_capabilities)
        if weakest >= (8, 0):
            return "mixed_bfloat16"
        return "mixed_float16" if weakest >= (7, 0) else "float32"
    return "mixed_bfloat16" if cpu_flags & _BFLOAT16_FLAGS else "float32"


def choose_strategy(devices: list[Any]) -> Any:
    """Data-parallel training when there is more than one device."""
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def choose_widths(max_tokens: int) -> tuple[int, ...]:
    """A few widths in tokens, each double the one before, up to the most that a text has."""
    return (*(width for width in _WIDTHS if width < max_tokens), max_tokens)


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Meanwhile GPUs may, or may not, multiply float32 in TF32: 10 bits of 23; afterwards they may not.

    Scores that are compared differ by some 1e-3 with it.
    """
    tf.config.experimental.enable_tensor_float_32_execution(allowed)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(False)


def _capabilities(gpus: list[Any]) -> list[tuple[int, int]]:
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return [detail.get("compute_capability", (0, 0)) for detail in details]


def _cpu_flags() -> set[str]:
    if not _CPU_INFO.exists():
        return set()
    lines = _CPU_INFO.read_text(encoding="utf-8").splitlines()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
