"""Warm start: training begins with the champion's weights, including the head, instead of the pretrained encoder."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import tf_keras

from ml.config import TrainConfig
from ml.encoder.pretrained import PretrainedEncoder
from ml.errors import ConfigError
from ml.model.fused import Array
from ml.model.predict import load_model
from ml.records import Champion, ModelDescription, ModelVersion, NoChampion, PretrainedWeights, from_json
from ml.registry import Registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Start:
    """The weights that a training begins with.

    `fitted_to` has the digests of all parts that these weights, and the weights that they came from, were fitted to.
    """

    weights: ModelVersion | PretrainedWeights
    fitted_to: tuple[str, ...]


def begin(
    classifier: tf_keras.Model,
    settings: TrainConfig,
    champion: Champion,
    registry: Registry,
    pretrained: PretrainedEncoder,
) -> Start:
    """Give the classifier the champion's weights if `warm_start` is set and there is a champion.

    Raises ConfigError if the champion's encoder has another vocabulary or other layers than the configured one.
    """
    if settings.warm_start and not isinstance(champion, NoChampion):
        folder = registry.fetch(champion.version)
        description = from_json((folder / "model.json").read_text(encoding="utf-8"), ModelDescription)
        if description.vocabulary != vocabulary_digest(pretrained):
            raise _misfit(champion.version, "was not trained with the vocabulary of the configured encoder")
        if not _copy_weights(load_model(folder).weights, classifier):
            raise _misfit(champion.version, "has not the layers and sizes of the configured encoder")
        logger.info("warm start: training begins with the weights of champion %s", champion.version)
        return Start(weights=champion, fitted_to=description.fitted_to)
    if settings.warm_start:
        logger.info("no warm start, since there is no champion yet: training begins with the pretrained encoder")
    return Start(weights=PretrainedWeights(), fitted_to=())


def vocabulary_digest(pretrained: PretrainedEncoder) -> str:
    """Return the sha256, in hex, of the vocabulary and its letter case, which decide a text's token ids."""
    content = json.dumps([pretrained.lower_case, *pretrained.vocabulary])
    return hashlib.sha256(content.encode()).hexdigest()


def _copy_weights(weights: Sequence[tuple[str, Array]], classifier: tf_keras.Model) -> bool:
    """Copy the weights if all names and shapes are equal, in any order; return whether they were copied."""
    theirs = sorted(weights, key=lambda weight: weight[0])
    ours = sorted(classifier.variables, key=lambda variable: variable.name)
    if [(name, value.shape) for name, value in theirs] != [(each.name, tuple(each.shape)) for each in ours]:
        return False
    for variable, (_, value) in zip(ours, theirs, strict=True):
        variable.assign(value)
    return True


def _misfit(version: str, what: str) -> ConfigError:
    return ConfigError(
        f"no warm start: champion {version} {what}",
        where="[train] warm_start",
        fix="name the champion's encoder in [encoder] source, or set warm_start to false",
    )
