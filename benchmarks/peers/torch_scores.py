"""Score by PyTorch, in the peers' own environment: the same model grouped by length, or Hugging Face's pipeline.

usage: python -m benchmarks.peers.torch_scores float32|bfloat16|pipeline MODEL-FOLDER ROWS.csv ROWS
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import BertForSequenceClassification, BertTokenizerFast, pipeline

from benchmarks.peers.questions import MAX_TOKENS, SCORING_BATCH, by_length, read

_WARM_UP_ROWS = 256
_PIPELINE_BATCH = 32


def main(arm: str, model: str, csv: str, rows: str) -> None:
    """Print the rows per second, as JSON."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    texts, _ = read(Path(csv), int(rows))
    tokenizer = BertTokenizerFast(str(Path(model) / "vocab.txt"))
    classifier = BertForSequenceClassification.from_pretrained(model, num_labels=2).eval()
    score = _pipeline(classifier, tokenizer) if arm == "pipeline" else _grouped(classifier, tokenizer, arm)
    score(texts[:_WARM_UP_ROWS])
    started = time.perf_counter()
    score(texts)
    print(json.dumps(len(texts) / (time.perf_counter() - started)))


def _pipeline(classifier: Any, tokenizer: Any) -> Callable[[list[str]], object]:
    """Return the pipeline as its documentation shows it."""
    scorer = pipeline("text-classification", model=classifier, tokenizer=tokenizer, device="cpu")
    return lambda texts: scorer(texts, batch_size=_PIPELINE_BATCH, truncation=True, max_length=MAX_TOKENS)


def _grouped(classifier: Any, tokenizer: Any, precision: str) -> Callable[[list[str]], object]:
    def score(texts: list[str]) -> None:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            for batch in by_length(texts, SCORING_BATCH):
                chosen = [texts[number] for number in batch]
                tokens = tokenizer(chosen, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
                classifier(**tokens).logits.float().softmax(-1)[:, 1].numpy()

    return score


if __name__ == "__main__":
    main(*sys.argv[1:])
