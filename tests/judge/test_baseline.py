import numpy as np
import pandas as pd

from ml.judge.baseline import train_baseline


def make_rows(insincere, sincere):
    texts = [f"why are {word} bad" for word in insincere] + [f"how do {word} sleep" for word in sincere]
    return pd.DataFrame({"question_text": texts, "target": [1] * len(insincere) + [0] * len(sincere)})


ROWS = make_rows(["cats", "dogs"], ["cats", "dogs", "birds", "people"])


def test_the_baseline_learns_which_words_tell_and_its_threshold_parts_them():
    baseline = train_baseline(ROWS, ROWS, positive_rate=0.3)

    scores = baseline.score(["why are cats bad", "how do fish sleep"])

    assert scores.dtype == np.float32
    assert scores[1] < baseline.threshold <= scores[0]


def test_the_same_rows_give_the_same_baseline():
    first, second = (train_baseline(ROWS, ROWS, positive_rate=0.3).score(ROWS["question_text"]) for _ in range(2))

    assert first.tolist() == second.tolist()
