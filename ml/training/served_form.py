"""Choose the number format of the exported model, and compare one in bfloat16 with its float32 form."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ml.encoder.pretrained import PretrainedEncoder
from ml.encoder.weights import PretrainedBert
from ml.errors import ConfigError
from ml.metrics import measure
from ml.model.export import ServedPrecision
from ml.model.threshold import Float32Array
from ml.records import Bfloat16Form, Float32Form, ServedForm
from ml.training.hardware import multiplies_bfloat16

Setting = Literal["float32", "bfloat16", "auto"]

logger = logging.getLogger(__name__)


class Exporter(NamedTuple):
    """How a model is written in a number format and scored, how a threshold is chosen; and the rows' labels, [rows]."""

    write: Callable[[Path, ServedPrecision], None]
    score: Callable[[Path], Float32Array]
    choose: Callable[[Float32Array], float]
    labels: Float32Array


class Exported(NamedTuple):
    """The form that was written, its scores of the validation rows, [rows], and the threshold chosen on them."""

    form: ServedForm
    scores: Float32Array
    threshold: float


def choose_served_precision(setting: Setting, pretrained: PretrainedEncoder) -> ServedPrecision:
    """Return the number format to try; raises ConfigError for bfloat16 with a module that is served as it is."""
    native = isinstance(pretrained, PretrainedBert)
    if setting == "bfloat16" and not native:
        raise ConfigError(
            "the encoder is a module that is served as it is, in float32",
            where="[serve] precision",
            fix='set it to "float32" or "auto", or use an encoder that is recognised as a BertEncoder',
        )
    if setting == "auto":
        return "bfloat16" if native and multiplies_bfloat16() else "float32"
    return setting


def export_in_form(folder: Path, setting: Setting, precision: ServedPrecision, exporter: Exporter) -> Exported:
    """Write the model into a folder, in bfloat16 after a comparison with float32.

    Where bfloat16 is too far from float32, `auto` writes float32; `bfloat16` is obeyed, and the gate refuses the model.
    """
    in_float32 = _export(folder, "float32", exporter)
    if precision == "float32":
        return in_float32
    apart = folder.rename(folder.parents[1] / "float32")
    exported = _export(folder, "bfloat16", exporter)
    form = _compare(exported, in_float32, exporter.labels)
    if setting == "auto" and not (form.labels_hold and form.average_precision_holds):
        logger.warning(
            "float32 is exported, since bfloat16 is too far from it: %.4f of the labels agree, average precision %+.4f",
            form.labels_agreeing,
            form.average_precision_change,
        )
        shutil.rmtree(folder)
        apart.rename(folder)
        return in_float32
    return exported._replace(form=form)


def _export(folder: Path, precision: ServedPrecision, exporter: Exporter) -> Exported:
    logger.info("exporting the model in %s", precision)
    exporter.write(folder, precision)
    scores = exporter.score(folder)
    return Exported(Float32Form(), scores, exporter.choose(scores))


def _compare(exported: Exported, in_float32: Exported, labels: Float32Array) -> Bfloat16Form:
    agreeing = (exported.scores >= exported.threshold) == (in_float32.scores >= exported.threshold)
    ours, theirs = (
        measure(labels.astype(np.int8), each.scores, exported.threshold)["average_precision"]
        for each in (exported, in_float32)
    )
    return Bfloat16Form(
        rows=len(labels), labels_agreeing=float(np.mean(agreeing)), average_precision_change=ours - theirs
    )
