"""The trainer: a classifier with the compiled functions that update it and score with it."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from ml.config import TrainConfig
from ml.encoder.pretrained import PretrainedEncoder, build_encoder
from ml.encoder.tokenizer import TokenizedTexts
from ml.model.classifier import build_classifier
from ml.progress import progress
from ml.training.batches import Batch, PlacedBatch, place, place_ahead, placed, scoring_batches
from ml.training.hardware import Runtime, sum_over_devices
from ml.training.optimizer import LazyAdamW, WarmUpLinearDecay, is_table, norm_by_shapes
from ml.training.trained_form import choose_form

SCORING_BATCH = 128
_IDS = tf.TensorSpec([None, None], tf.int32)
_LABELS = tf.TensorSpec([None], tf.float32)
_compiled = partial(tf.function, autograph=False)  # nothing branches on a tensor, and rewriting the source takes long


class Trainer:
    """One model in training; `total_steps` is the length of the learning rate schedule."""

    def __init__(
        self, pretrained: PretrainedEncoder, settings: TrainConfig, runtime: Runtime, *, total_steps: int
    ) -> None:
        self.runtime = runtime
        self._clip_norm = settings.clip_norm
        self._scales_loss = runtime.precision == "mixed_float16"
        # Replicas, even a single one, meet in AdamW, which Keras allows outside of compiled functions only.
        self._compiles_steps = runtime.jit_compile and runtime.strategy is tf.distribute.get_strategy()
        self.schedule = WarmUpLinearDecay(
            settings.learning_rate, round(total_steps * settings.warmup_fraction), total_steps
        )
        tf_keras.mixed_precision.set_global_policy(runtime.precision)
        with runtime.strategy.scope():
            self.classifier = build_classifier(build_encoder(pretrained), dropout=settings.dropout, seed=settings.seed)
            self.optimizer: Any = LazyAdamW(
                self.schedule,
                self.classifier.trainable_variables,
                weight_decay=settings.weight_decay,
                head_factor=settings.head_learning_rate_factor,
                dense_tables=runtime.jit_compile,
            )
            # XLA compiles no function that makes variables, and TensorFlow traces one twice.
            self.optimizer._create_all_weights(self.classifier.trainable_variables)
            if self._scales_loss:
                self.optimizer = tf_keras.mixed_precision.LossScaleOptimizer(self.optimizer)
        self._steps = (
            self.optimizer.iterations
        )  # Keras makes the counter on first use, which must be outside of replicas
        self._form = choose_form(pretrained, self.classifier, settings, runtime)
        self._gradients = _compiled(self._loss_and_gradients, jit_compile=runtime.jit_compile)
        self._place = _compiled(place, input_signature=(_IDS, _IDS, _LABELS, _LABELS))
        # As two functions, gradients and AdamW, the host begins a step of 32 tokens later than the GPU could.
        self._update_placed = _compiled(self._update_one_device, jit_compile=True)
        self._update = _compiled(self._update_all_replicas, input_signature=(_IDS, _IDS, _LABELS, _LABELS))
        self._probabilities = _compiled(self._score, input_signature=(_IDS, _IDS))

    def update(self, batch: Batch | PlacedBatch) -> tf.Tensor:
        """Make one step, and return the batch's mean loss in nats, float32 []."""
        if isinstance(batch, PlacedBatch):
            return self._update_placed(*batch.tensors)
        if self._compiles_steps:
            return self._update_placed(*placed(batch, self._place).tensors)
        return self._update(batch.ids, batch.mask, batch.labels, batch.weights)

    def ahead(self, batches: Iterable[Batch]) -> Iterator[Batch | PlacedBatch]:
        """Yield the batches; one GPU has each before it is asked for, and goes from step to step without a pause."""
        return place_ahead(batches, self._place) if self._compiles_steps else iter(batches)

    def score(self, texts: TokenizedTexts, *, pause: Callable[[], object] = lambda: None) -> NDArray[np.float32]:
        """Return probabilities, float32 [texts], in the order of the texts, with a pause before each batch.

        Of several machines each computes its share of the batches, and all have the same scores.
        """
        scores, runtime = np.zeros(len(texts), np.float32), self.runtime
        unlabelled = np.zeros(len(texts), np.float32)
        batches = scoring_batches(texts, unlabelled, batch_size=SCORING_BATCH, widths=runtime.widths)
        with progress("score the validation rows", len(texts), " rows") as bar:
            for number, batch in enumerate(batches):
                pause()
                if number % runtime.machines == runtime.machine:
                    scores[batch.rows] = self._probabilities(batch.ids, batch.mask)[: len(batch.rows)]
                bar.update(len(batch.rows))
        if runtime.machines == 1:
            return scores
        each = runtime.strategy.num_replicas_in_sync // runtime.machines  # how many devices have these scores
        shared: NDArray[np.float32] = sum_over_devices(runtime.strategy, scores) / each
        return shared

    def steps(self) -> int:
        """Return the number of steps made so far."""
        return int(tf.convert_to_tensor(self._steps))

    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        return float(self.schedule(tf.convert_to_tensor(self._steps)))

    def _update_one_device(self, tokens: tf.Tensor, truths: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        loss, gradients, table_norms = self._loss_and_gradients(tokens, truths, rows, tf.identity(self._steps))
        self._apply_gradients(gradients, table_norms)
        return loss

    def _update_all_replicas(self, *batch: tf.Tensor) -> tf.Tensor:
        strategy = self.runtime.strategy
        losses = strategy.run(self._update_replica, args=batch)
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def _update_replica(self, ids: tf.Tensor, mask: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Make one replica's part of a step, on every n-th row; the sum of the replicas' losses is the batch's mean."""
        context = tf.distribute.get_replica_context()
        first, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
        draw = self._steps * replicas + tf.cast(first, tf.int64)
        ids, mask, labels, own = (part[first::replicas] for part in (ids, mask, labels, weights))
        loss, gradients, table_norms = self._gradients(
            tf.stack([ids, mask], 1), tf.stack([labels, own], 1), tf.reduce_sum(weights), draw
        )
        if replicas > 1:
            # The gradients are summed before clipping, so that the clipped norm is the norm of the whole batch.
            gradients, squares = context.all_reduce(tf.distribute.ReduceOp.SUM, [gradients, tf.square(table_norms)])
            table_norms = tf.sqrt(squares)
        self._apply_gradients(gradients, table_norms)
        return loss

    def _apply_gradients(self, gradients: list[Any], table_norms: tf.Tensor) -> None:
        variables = self.classifier.trainable_variables
        norm = self._norm(gradients, table_norms)
        gradients, _ = tf.clip_by_global_norm(gradients, self._clip_norm, use_norm=norm)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True), experimental_aggregate_gradients=False)

    def _norm(self, gradients: list[Any], table_norms: tf.Tensor) -> tf.Tensor:
        variables = self.classifier.trainable_variables
        others = [gradient for gradient, each in zip(gradients, variables, strict=True) if not self._is_dense(each)]
        if self._compiles_steps:
            return norm_by_shapes([*others, table_norms])
        return tf.linalg.global_norm([*others, table_norms] if len(others) < len(variables) else gradients)

    def _is_dense(self, variable: Any) -> bool:
        """Whether this is a table whose gradient is dense: XLA knows fixed shapes only."""
        return self.runtime.jit_compile and is_table(variable.name)

    def _loss_and_gradients(
        self, tokens: tf.Tensor, truths: tf.Tensor, rows: tf.Tensor, draw: tf.Tensor
    ) -> tuple[tf.Tensor, list[Any], tf.Tensor]:
        """Return the loss, the gradients, and the norm of the tables' gradients before the rows of a token meet."""
        ids, mask = tf.unstack(tf.cast(tokens, tf.int32), axis=1)
        labels, weights = tf.unstack(truths, axis=1)
        with tf.GradientTape() as tape:
            probabilities = self._form.train(ids, mask, draw)
            losses = tf_keras.losses.binary_crossentropy(labels[:, None], probabilities)
            loss = tf.reduce_sum(weights * losses) / rows
            scaled = self.optimizer.get_scaled_loss(loss) if self._scales_loss else loss
        gradients = tape.gradient(scaled, self.classifier.trainable_variables)
        if self._scales_loss:
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        variables = self.classifier.trainable_variables
        tables = [gradient for gradient, each in zip(gradients, variables, strict=True) if self._is_dense(each)]
        table_norms = tf.linalg.global_norm(tables) if tables else tf.zeros([])
        if self.runtime.jit_compile:
            # Rows that meet in a table are summed in any order: once, or replicas would drift apart.
            gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        return loss, gradients, table_norms

    def _score(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return self._form.score(ids, mask)[:, 0]
