"""Export the classifier as one SavedModel, which maps raw strings to probabilities and is served without this code."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf
import tf_keras
from google.protobuf.descriptor import FieldDescriptor
from tensorflow.core.protobuf import saved_model_pb2

from ml.encoder.pretrained import PretrainedEncoder, build_encoder
from ml.encoder.tokenizer import Tokenizer, encoder_inputs
from ml.encoder.weights import PretrainedBert
from ml.model.classifier import build_classifier, build_head
from ml.model.fused import Array, FusedBert
from ml.store.plain_path import plain_path

ServedPrecision = Literal["float32", "bfloat16"]

_NUMBERED = re.compile(r"\w+_\d+")


class ServedClassifier(tf.Module):  # type: ignore[misc]
    """Tokenizer and classifier as one function of strings; `weights` are the classifier's, in the order of its layers.

    `classify` maps token ids to probabilities, float32 [texts, 1]. A Keras model is no attribute: the SavedModel would
    then hold functions of each layer that nobody calls.
    """

    def __init__(self, tokenizer: Tokenizer, classify: Callable[[Any], Any], weights: Sequence[Any]) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._classify = classify
        self.weights = list(weights)

    @tf.function(input_signature=(tf.TensorSpec([None], tf.string, name="texts"),), autograph=False)  # type: ignore[untyped-decorator]
    def score(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Map strings [rows] to `probability`, float32 [rows]."""
        return {"probability": self._classify(self._tokenizer(texts))[:, 0]}


def export_classifier(
    folder: Path,
    precision: ServedPrecision = "float32",
    *,
    pretrained: PretrainedEncoder,
    tokenizer: Tokenizer,
    weights: Sequence[tuple[str, Array]],
    seed: int,
) -> None:
    """Write the SavedModel; after a training in mixed precision it is in float32 too, unless `precision` says so.

    A BERT is written in its fused form. A module that is no BertEncoder stays as it is, in float32. `weights` are the
    weights of the trained classifier with their names.
    """
    tf_keras.mixed_precision.set_global_policy("float32")
    if isinstance(pretrained, PretrainedBert):
        _save(_fused(tokenizer, pretrained, dict(weights), precision), folder)
        return
    classifier = build_classifier(build_encoder(pretrained), dropout=0.0, seed=seed)
    classifier.set_weights([value for _, value in weights])
    export_as_trained(folder, tokenizer, classifier)


def export_as_trained(folder: Path, tokenizer: Tokenizer, classifier: tf_keras.Model) -> None:
    """Write the classifier as Keras computes it, with padding: any module can be written so, and older models were."""
    _save(
        ServedClassifier(tokenizer, lambda ids: classifier(encoder_inputs(ids), training=False), classifier.weights),
        folder,
    )


def _fused(
    tokenizer: Tokenizer, pretrained: PretrainedBert, weights: dict[str, Array], precision: ServedPrecision
) -> ServedClassifier:
    head = build_head(seed=0)
    head(tf.zeros([1, pretrained.sizes.hidden]))  # makes its weights
    head.set_weights([weights.pop(variable.name) for variable in head.weights])
    encoder = FusedBert(weights, sizes=pretrained.sizes, pooling=pretrained.pooling, products=tf.as_dtype(precision))
    return ServedClassifier(tokenizer, lambda ids: head(encoder(ids)), [*encoder.weights, *head.weights])


def _save(served: ServedClassifier, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    tf.saved_model.save(
        served, f"{plain_path(folder.parent)}/{folder.name}", signatures={"serving_default": served.score}
    )
    _make_reproducible(folder)


def _make_reproducible(folder: Path) -> None:
    """Remove the random id and put everything in a fixed order, so that equal models are equal byte by byte.

    TensorFlow puts numbers into the names of functions and of the tensors that they capture: it counts what the
    process has made so far.
    """
    (folder / "fingerprint.pb").unlink(missing_ok=True)
    path = folder / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    _drop_numbers_of_captures(proto)
    _renumber_functions(proto)
    proto.meta_graphs[0].graph_def.library.function.sort(key=lambda function: function.signature.name)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _drop_numbers_of_captures(proto: Any) -> None:
    name = "_user_specified_name"
    for function in proto.meta_graphs[0].graph_def.library.function:
        for argument in function.arg_attr.values():
            if name in argument.attr and argument.attr[name].s.isdigit():
                del argument.attr[name]


def _renumber_functions(proto: Any) -> None:
    """Number the functions from 0 on, in their old order, and rename them everywhere in the SavedModel."""
    names = [function.signature.name for function in proto.meta_graphs[0].graph_def.library.function]
    numbered = sorted(filter(_NUMBERED.fullmatch, names), key=lambda name: int(name.rpartition("_")[2]))
    renamed = {name: f"{name.rpartition('_')[0]}_{number}" for number, name in enumerate(numbered)}
    _rename(proto, renamed | {name.encode(): new.encode() for name, new in renamed.items()})
    described = proto.meta_graphs[0].object_graph_def.concrete_functions
    by_name = {renamed.get(name, name): deepcopy(function) for name, function in described.items()}
    described.clear()
    for name, function in by_name.items():
        described[name].CopyFrom(function)


def _rename(message: Any, renamed: Mapping[Any, Any]) -> None:
    """Replace each text in a message, and in the messages that it holds, that is one of these names."""
    for field, value in message.ListFields():
        if field.message_type:
            for each in _messages(field, value):
                _rename(each, renamed)
        elif not field.is_repeated and value in renamed:
            setattr(message, field.name, renamed[value])
        elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.is_repeated:
            value[:] = [renamed.get(each, each) for each in value]


def _messages(field: FieldDescriptor, value: Any) -> Iterable[Any]:
    if not field.message_type.GetOptions().map_entry:
        return value if field.is_repeated else (value,)
    return value.values() if field.message_type.fields_by_name["value"].message_type else ()
