"""Train by Hugging Face's Trainer, batches grouped by length, in the peers' own environment.

usage: python -m benchmarks.peers.trainer minilm|bert-base float32|bfloat16 MODEL-FOLDER ROWS.csv STEPS
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.peers.questions import MAX_TOKENS, TRAINING_BATCH, read

_WARM_UP_STEPS = 10


class Clock(TrainerCallback):  # type: ignore[misc]
    """Measures the time of the steps after the first ones."""

    def __init__(self, steps: int) -> None:
        self._steps, self._times = steps, [0.0, 0.0]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the time when the warm-up ends, and when the last step ends."""
        if state.global_step == _WARM_UP_STEPS:
            self._times[0] = time.perf_counter()
        if state.global_step == _WARM_UP_STEPS + self._steps:
            self._times[1] = time.perf_counter()

    @property
    def examples_per_second(self) -> float:
        """The rate of the steps that count."""
        return self._steps * TRAINING_BATCH / (self._times[1] - self._times[0])


def main(size: str, precision: str, model: str, csv: str, steps: str) -> None:
    """Print the examples per second, as JSON."""
    texts, labels = read(Path(csv), (int(steps) + _WARM_UP_STEPS) * TRAINING_BATCH)
    tokenizer = BertTokenizerFast(str(Path(model) / "vocab.txt"))
    tokens = tokenizer(texts, truncation=True, max_length=MAX_TOKENS)
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(tokens["input_ids"], tokens["attention_mask"], labels, strict=True)
    ]
    clock = Clock(int(steps))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=TRAINING_BATCH,
            max_steps=_WARM_UP_STEPS + int(steps),
            learning_rate=1e-4,
            use_cpu=True,
            bf16=precision == "bfloat16",
            train_sampling_strategy="group_by_length",
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=_classifier(size, model),
            args=arguments,
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[clock],
        )
        trainer.train()
    print(json.dumps(clock.examples_per_second))


def _classifier(size: str, model: str) -> Any:
    if size == "bert-base":
        return BertForSequenceClassification(BertConfig(num_labels=2))
    return BertForSequenceClassification.from_pretrained(model, num_labels=2)


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    main(*sys.argv[1:])
