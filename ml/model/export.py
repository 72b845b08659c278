"""One SavedModel: raw strings in, probabilities out, servable without this code."""

from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import saved_model_pb2

from ml.model.classifier import build_classifier
from ml.model.encoder import PretrainedEncoder, build_encoder
from ml.model.tokenizer import Tokenizer, encoder_inputs


class ServedClassifier(tf.Module):  # type: ignore[misc]
    """Tokenizer and classifier as one function of strings."""

    def __init__(self, tokenizer: Tokenizer, classifier: tf_keras.Model) -> None:
        super().__init__()
        self._tokenizer, self._classifier = tokenizer, classifier

    @tf.function(input_signature=(tf.TensorSpec([None], tf.string, name="texts"),))  # type: ignore[untyped-decorator]
    def score(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Strings [rows] to `probability`, float32 [rows]."""
        probabilities = self._classifier(encoder_inputs(self._tokenizer(texts)), training=False)
        return {"probability": probabilities[:, 0]}


def export_classifier(
    folder: Path, *, pretrained: PretrainedEncoder, tokenizer: Tokenizer, weights: list[Any], seed: int
) -> None:
    """Write the SavedModel, in float32 whatever the training's precision, so that any machine gives the same scores.

    `weights` are those of the trained classifier.
    """
    tf_keras.mixed_precision.set_global_policy("float32")
    classifier = build_classifier(build_encoder(pretrained), dropout=0.0, seed=seed)
    classifier.set_weights(weights)
    served = ServedClassifier(tokenizer, classifier)
    tf.saved_model.save(served, str(folder), signatures={"serving_default": served.score})
    _make_reproducible(folder)


def _make_reproducible(folder: Path) -> None:
    """The same model in the same bytes: no random id, and the maps of the protocol buffer in a fixed order."""
    (folder / "fingerprint.pb").unlink(missing_ok=True)
    path = folder / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    path.write_bytes(proto.SerializeToString(deterministic=True))
