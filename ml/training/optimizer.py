"""AdamW with warm-up and linear decay, fast on large embedding tables."""

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
import tf_keras


class WarmUpLinearDecay(tf_keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A learning rate that rises linearly from 0 to `peak` in `warmup_steps`, then falls to 0 at `total_steps`."""

    def __init__(self, peak: float, warmup_steps: int, total_steps: int) -> None:
        self.peak, self.warmup_steps, self.total_steps = peak, warmup_steps, total_steps

    def __call__(self, step: Any) -> tf.Tensor:
        """Return the learning rate of the next update after `step` updates, float32."""
        done = tf.cast(step, tf.float32)
        warming = (done + 1.0) / float(max(self.warmup_steps, 1))
        decaying = (self.total_steps - done) / float(max(self.total_steps - self.warmup_steps, 1))
        return self.peak * tf.clip_by_value(tf.minimum(warming, decaying), 0.0, 1.0)

    def get_config(self) -> dict[str, float]:
        """The constructor's arguments."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "total_steps": self.total_steps}


class LazyAdamW(tf_keras.optimizers.legacy.Adam):  # type: ignore[misc]
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).

    TensorFlow's fused kernel updates dense weights. In an embedding table only the rows that occur in the batch, and
    their moments, are updated; with `dense_tables`, which XLA needs, the rows whose gradient is not 0. Embeddings are
    not decayed and, as in BERT, neither are biases and layer norms.
    The head is not pretrained and learns at `head_factor` times the learning rate (Howard and Ruder 2018,
    arXiv:1801.06146, section 3.2, set a learning rate for each layer).

    The names of the `variables` are read once: a replica's part bears another name (`kernel/replica_1:0`), and later
    its identity tells which variable it belongs to. The constructor must run in the scope of the strategy.
    """

    def __init__(
        self,
        learning_rate: Any,
        variables: Iterable[Any],
        *,
        weight_decay: float,
        head_factor: float = 1.0,
        dense_tables: bool = False,
    ) -> None:
        super().__init__(learning_rate, epsilon=1e-6, name="LazyAdamW")
        self._weight_decay, self._head_factor = weight_decay, head_factor
        named = list(variables)
        self._kernels, self._head = _parts(named, _is_kernel), _parts(named, _is_of_the_head)
        self._tables = _parts(named, is_table) if dense_tables else frozenset()

    def _resource_apply_dense(self, grad: Any, var: Any, apply_state: Any = None) -> Any:
        if var.ref() in self._tables:
            return self._apply_to_table(grad, var, apply_state[(var.device, var.dtype.base_dtype)])
        if var.ref() in self._head:
            apply_state = self._for_the_head(apply_state, (var.device, var.dtype.base_dtype))
        if self._weight_decay == 0 or var.ref() not in self._kernels:
            return super()._resource_apply_dense(grad, var, apply_state)
        learning_rate = apply_state[(var.device, var.dtype.base_dtype)]["lr_t"]
        decay = var.assign_sub(learning_rate * self._weight_decay * var, read_value=False)
        with tf.control_dependencies([decay]):
            return super()._resource_apply_dense(grad, var, apply_state)

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any, apply_state: Any = None) -> Any:
        """Update some rows of a table; the base class has summed the gradients of repeated rows.

        `grad`: [rows, width]; `indices`: [rows], each row once.
        """
        constants = apply_state[(var.device, var.dtype.base_dtype)]
        first, second = self.get_slot(var, "m"), self.get_slot(var, "v")
        mean = constants["beta_1_t"] * tf.gather(first, indices) + constants["one_minus_beta_1_t"] * grad
        square = constants["beta_2_t"] * tf.gather(second, indices) + constants["one_minus_beta_2_t"] * grad * grad
        change = constants["lr"] * mean / (tf.sqrt(square) + constants["epsilon"])
        return tf.group(
            self._resource_scatter_update(first, indices, mean),
            self._resource_scatter_update(second, indices, square),
            self._resource_scatter_add(var, indices, -change),
        )

    def _apply_to_table(self, grad: Any, var: Any, constants: Any) -> Any:
        """Update the rows of a table, [rows, width], whose gradient is not 0."""
        first, second = self.get_slot(var, "m"), self.get_slot(var, "v")
        occurs = tf.reduce_any(grad != 0, axis=1, keepdims=True)
        mean = constants["beta_1_t"] * first + constants["one_minus_beta_1_t"] * grad
        square = constants["beta_2_t"] * second + constants["one_minus_beta_2_t"] * grad * grad
        change = constants["lr"] * mean / (tf.sqrt(square) + constants["epsilon"])
        return tf.group(
            first.assign(tf.where(occurs, mean, first)),
            second.assign(tf.where(occurs, square, second)),
            var.assign(tf.where(occurs, var - change, var)),
        )

    def _for_the_head(self, apply_state: Any, place: Any) -> Any:
        constants = apply_state[place]
        return {**apply_state, place: {**constants, "lr_t": constants["lr_t"] * self._head_factor}}

    def _resource_scatter_update(self, var: Any, indices: Any, rows: Any) -> Any:
        return tf.raw_ops.ResourceScatterUpdate(resource=var.handle, indices=indices, updates=rows)


def norm_by_shapes(gradients: Iterable[tf.Tensor]) -> tf.Tensor:
    """Return the norm of all gradients together, float32 [], for XLA: of each shape it makes one sum, not one of each.

    So a step of BERT-base has some 230 kernels less than with tf.linalg.global_norm.
    """
    squares: dict[Any, list[tf.Tensor]] = {}
    for gradient in gradients:
        squares.setdefault(tuple(gradient.shape), []).append(tf.square(gradient))
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.add_n(alike)) for alike in squares.values()]))


def _parts(variables: Iterable[Any], belongs: Callable[[str], bool]) -> frozenset[Any]:
    """Return references to all replicas' parts of the variables whose names belong."""
    local = tf.distribute.get_strategy().experimental_local_results
    return frozenset(part.ref() for variable in variables if belongs(variable.name) for part in local(variable))


def _is_of_the_head(variable: str) -> bool:
    return variable.startswith("head/")


def _is_kernel(variable: str) -> bool:
    return variable.endswith("kernel:0")


def is_table(variable: str) -> bool:
    """Whether a variable of this name is the table of word embeddings."""
    return variable.startswith("word_embeddings/")
