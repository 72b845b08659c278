"""Set up TensorFlow for this machine: seeds, number format, XLA, and one or several devices."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf
import tf_keras

from ml.training.machines.workers import Alone, Workers

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
PARTS = 2  # of a batch that a CPU computes side by side
_WIDTHS = (16, 32, 64, 128, 256)
_CPU_INFO = Path("/proc/cpuinfo")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How training runs on this machine.

    With `widths`, in tokens, each batch has one of them, and all batches have equally many rows: XLA compiles once for
    each shape. Without, a batch is as wide as its longest text. `machine` is the number of this one of `machines`.
    """

    precision: Precision
    jit_compile: bool
    strategy: Any
    widths: tuple[int, ...]
    machines: int = 1
    machine: int = 0


def start_strategy(workers: Workers | Alone, *, wait_minutes: float = 30.0) -> Any:
    """Share the cores, choose how devices share the work, and wait for other machines.

    Nothing may be computed before. If another machine is not there in time, SIGALRM ends the process.
    """
    share_cores()
    if isinstance(workers, Alone):
        return choose_strategy(tf.config.list_logical_devices("GPU"))
    logger.info("waiting for %d machines to begin, %g minutes at most", workers.machines, wait_minutes)
    with _ended_after(60 * wait_minutes):
        return _start_together(workers)


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """Let SIGALRM end the process unless the context has ended before.

    TensorFlow waits without end for a machine that does not come, and lets no other thread of Python run meanwhile.
    """
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _start_together(workers: Workers) -> Any:
    cluster = tf.train.ClusterSpec({role: list(addresses) for role, addresses in workers.cluster.items()})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type=workers.role, task_id=workers.index, rpc_layer="grpc"
    )
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


def share_cores() -> None:
    """Let each part of a batch have its share of the CPU's cores; must come before TensorFlow is at work.

    It changes nothing where TensorFlow was at work before, or where a GPU trains. The last bits of a product depend on
    the cores that compute it: a training that shall end in equal weights must have the same share in each process.
    """
    if not tf.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(max(1, count_cores() // PARTS))


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def sum_over_devices(strategy: Any, values: Any) -> Any:
    """Sum what each process has, of one shape, over all devices of all machines; a NumPy array, equal on each."""
    return _total(strategy)(tf.constant(values)).numpy()


@cache
def _total(strategy: Any) -> Any:
    """Return the sum as one graph of the strategy, which is traced once for each shape."""

    @tf.function  # type: ignore[untyped-decorator]
    def total(own: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.identity, args=(own,)), axis=None)

    return total


def prepare_runtime(
    *,
    precision: Literal["auto"] | Precision,
    seed: int,
    max_tokens: int,
    strategy: Any,
    workers: Workers | Alone = Alone(),  # noqa: B008, it never changes
    deterministic: bool = True,
) -> Runtime:
    """Set all seeds and choose a runtime for the hardware; on the CPU equal seeds give equal weights, bit for bit.

    Pass `deterministic=False` if the model has random operations without a seed: TensorFlow's deterministic mode
    refuses them.

    XLA and fixed widths are used on GPUs only: on a CPU XLA made steps two to three times slower.
    """
    tf_keras.backend.clear_session()  # Keras numbers the layers of a process; their names go into the exported file
    tf_keras.utils.set_random_seed(seed)
    gpus = tf.config.list_physical_devices("GPU")
    if deterministic and not gpus:
        tf.config.experimental.enable_op_determinism()
    runtime = Runtime(
        precision=choose_precision(_capabilities(gpus), _cpu_flags()) if precision == "auto" else precision,
        jit_compile=bool(gpus),
        strategy=strategy,
        widths=choose_widths(max_tokens) if gpus else (),
        machines=workers.machines,
        machine=workers.number,
    )
    logger.info(
        "training in %s on %s, XLA %s, devices of all machines: %d",
        runtime.precision,
        f"{len(gpus)} GPU" if gpus else "the CPU",
        "on" if runtime.jit_compile else "off",
        strategy.num_replicas_in_sync,
    )
    return runtime


def choose_precision(gpu_capabilities: list[tuple[int, int]], cpu_flags: set[str]) -> Precision:
    """Choose a 16-bit number format if the hardware multiplies it.

    bfloat16: GPUs from compute capability 8.0, CPUs with AVX512-BF16 or AMX. float16: GPUs from compute capability 7.0.
    """
    if gpu_capabilities:
        weakest = min(gpu_capabilities)
        if weakest >= (8, 0):
            return "mixed_bfloat16"
        return "mixed_float16" if weakest >= (7, 0) else "float32"
    return "mixed_bfloat16" if cpu_flags & _BFLOAT16_FLAGS else "float32"


def multiplies_bfloat16() -> bool:
    """Whether this machine's GPUs, or without any its CPU, multiply bfloat16."""
    capabilities = _capabilities(tf.config.list_physical_devices("GPU"))
    return choose_precision(capabilities, _cpu_flags()) == "mixed_bfloat16"


def choose_strategy(devices: list[Any]) -> Any:
    """Choose data-parallel training if there is more than one device."""
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def choose_widths(max_tokens: int) -> tuple[int, ...]:
    """Return a few widths in tokens, each twice the one before, up to `max_tokens`."""
    return (*(width for width in _WIDTHS if width < max_tokens), max_tokens)


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Let GPUs multiply float32 in TF32, with 10 bits of 23, or not, until the end; then they may not.

    TF32 moves scores by some 1e-3.
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
