"""The recipe of the 2021 notebook, to which training is compared: hub layer, float32, 128 tokens, tf.py_function."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras
from official.nlp.data import classifier_data_lib
from official.nlp.tools import tokenization

MAX_TOKENS = 128
BATCH_SIZE = 32
LEARNING_RATE = 2e-5
DROPOUT = 0.5


def dataset(module: hub.KerasLayer, texts: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """Make batches of ({input_word_ids, input_mask, input_type_ids}: int32 [32, 128], label: int32 [32])."""
    assets = module.resolved_object
    tokenizer = tokenization.FullTokenizer(
        assets.vocab_file.asset_path.numpy().decode(), bool(assets.do_lower_case.numpy())
    )

    def features(text: tf.Tensor, label: tf.Tensor) -> tuple[list[int], list[int], list[int], int]:
        example = classifier_data_lib.InputExample(
            guid=None, text_a=text.numpy().decode(), text_b=None, label=int(label)
        )
        row = classifier_data_lib.convert_single_example(0, example, [0, 1], MAX_TOKENS, tokenizer)
        return row.input_ids, row.input_mask, row.segment_ids, row.label_id

    def tensors(text: tf.Tensor, label: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        ids, mask, types, target = tf.py_function(features, inp=[text, label], Tout=[tf.int32] * 4)
        for tensor in (ids, mask, types):
            tensor.set_shape([MAX_TOKENS])
        target.set_shape([])
        return {"input_word_ids": ids, "input_mask": mask, "input_type_ids": types}, target

    rows = tf.data.Dataset.from_tensor_slices((texts, labels)).map(tensors, num_parallel_calls=tf.data.AUTOTUNE)
    return rows.shuffle(1000).batch(BATCH_SIZE, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def classifier(module: hub.KerasLayer) -> tf_keras.Model:
    """Build the encoder's pooled output, dropout and one sigmoid unit, compiled with Adam as in the notebook."""
    inputs = {
        name: tf_keras.layers.Input((MAX_TOKENS,), dtype=tf.int32, name=name)
        for name in ("input_word_ids", "input_mask", "input_type_ids")
    }
    pooled = module(inputs)["pooled_output"]
    output = tf_keras.layers.Dense(1, activation="sigmoid")(tf_keras.layers.Dropout(DROPOUT)(pooled))
    model = tf_keras.Model(inputs, output)
    model.compile(
        optimizer=tf_keras.optimizers.Adam(LEARNING_RATE), loss="binary_crossentropy", metrics=["binary_accuracy"]
    )
    return model


def open_module(folder: Path) -> hub.KerasLayer:
    """Open a trainable encoder in the TF-Hub BERT format."""
    return hub.KerasLayer(str(folder), trainable=True)
