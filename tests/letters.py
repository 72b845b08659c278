"""A model that can be checked by hand: the probability is the number of letters divided by 10."""

from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from ml.champion.promote import promote
from ml.config import Config
from ml.records import KnownProfile, NoChampion, to_json
from ml.run import Run
from ml.store.files import tree_digest
from tests.judge.examples import DESCRIPTION, compare, judged, probed


class LetterCounter(tf.Module):
    @tf.function(input_signature=(tf.TensorSpec([None], tf.string, name="texts"),))
    def score(self, texts):
        return {"probability": tf.cast(tf.strings.length(texts), tf.float32) / 10}


def write_letter_counter(folder: Path, profile: KnownProfile) -> Path:
    """Write it as an exported model with the threshold 0.5."""
    counter = LetterCounter()
    tf.saved_model.save(counter, str(folder / "saved_model"), signatures={"serving_default": counter.score})
    (folder / "model.json").write_text(to_json(replace(DESCRIPTION, threshold=0.5, profile=profile)))
    return folder


def crown(run: Run, profile: KnownProfile) -> None:
    """Make it the first champion of a run's registry."""
    with run.store.staging() as folder:
        write_letter_counter(folder, profile)
        model = tree_digest(folder)
        run.store.commit(folder, "models", model)
    comparison = compare(model, NoChampion())
    promote(Config(), run, comparison, judged(comparison), probed(comparison))
