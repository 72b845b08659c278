from pathlib import Path

import numpy as np
import pytest

from ml.encoder.pretrained import build_encoder, read_encoder
from ml.model.classifier import ENCODER_INPUTS, build_classifier, start_at_share


@pytest.mark.parametrize("share", [0.0625, 0.5])
def test_a_classifier_begins_with_probabilities_about_the_share_of_positives(tiny_encoder: Path, share):
    classifier = build_classifier(build_encoder(read_encoder(str(tiny_encoder))), dropout=0.1, seed=1)
    start_at_share(classifier, share)
    probabilities = classifier(dict.fromkeys(ENCODER_INPUTS, np.ones((2, 5), np.int32)))
    np.testing.assert_allclose(probabilities, [[share], [share]], rtol=0.25)
