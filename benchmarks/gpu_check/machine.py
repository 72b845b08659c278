"""What the machine is: the card, and how fast it multiplies."""

import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

Row = dict[str, Any]
# Dense products in bfloat16, FLOP/s, by NVIDIA's data sheets.
STATED_PEAKS = {"H100 80GB HBM3": 989e12, "H100 PCIe": 756e12, "H200": 989e12, "A100": 312e12, "L4": 121e12}
SIDES = {True: 8192, False: 512}
PRODUCTS = 20


def machine() -> Iterator[Row]:
    """Measure products of square matrices in each number format; the first row describes the card."""
    gpus = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    name = details.get("device_name", "no GPU")
    stated = next((peak for part, peak in STATED_PEAKS.items() if part in name), 0.0)
    for dtype, allowed in (("bfloat16", False), ("float16", False), ("float32", True), ("float32", False)):
        tf.config.experimental.enable_tensor_float_32_execution(allowed)
        rate = _rate(SIDES[bool(gpus)], dtype)
        yield {
            "card": name,
            "compute capability": ".".join(map(str, details.get("compute_capability", ()))) or "-",
            "TensorFlow": tf.version.VERSION,
            "product in": "TF32" if allowed else dtype,
            "TFLOP/s": rate / 1e12,
            "stated bf16 peak, TFLOP/s": stated / 1e12,
            "right": True,
        }


def _rate(side: int, dtype: str) -> float:
    left, right = (tf.cast(tf.random.normal([side, side], seed=seed), dtype) for seed in (1, 2))
    product = tf.function(tf.matmul)
    _wait(product(left, right))
    started = time.perf_counter()
    for _ in range(PRODUCTS):
        last = product(left, right)
    _wait(last)
    return 2.0 * side**3 * PRODUCTS / (time.perf_counter() - started)


def _wait(result: tf.Tensor) -> None:
    float(tf.cast(result[0, 0], tf.float32))
