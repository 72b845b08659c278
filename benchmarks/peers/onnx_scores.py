"""Score by ONNX Runtime, grouped by length, in the peers' own environment.

usage: python -m benchmarks.peers.onnx_scores export MODEL-FOLDER OUTPUT-FOLDER
       python -m benchmarks.peers.onnx_scores float32|int8 MODEL-FOLDER ROWS.csv ROWS OUTPUT-FOLDER
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from transformers import BertTokenizerFast

from benchmarks.peers.questions import MAX_TOKENS, SCORING_BATCH, by_length, read

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_WARM_UP_ROWS = 256


def export(model: str, output: str) -> None:
    """Write the model as ONNX in float32, its graph optimized for BERT, and with weights in int8."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    from transformers import BertForSequenceClassification

    folder = Path(output)
    classifier = BertForSequenceClassification.from_pretrained(model, num_labels=2, attn_implementation="eager").eval()
    tokens = BertTokenizerFast(str(Path(model) / "vocab.txt"))(["a b c", "d e"], padding=True, return_tensors="pt")
    axes = {name: {0: "rows", 1: "tokens"} for name in _INPUTS}
    raw = folder / "raw.onnx"
    torch.onnx.export(
        classifier,
        tuple(tokens[name] for name in _INPUTS),
        str(raw),
        input_names=list(_INPUTS),
        output_names=["logits"],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )
    heads, hidden = classifier.config.num_attention_heads, classifier.config.hidden_size
    optimized = optimizer.optimize_model(str(raw), model_type="bert", num_heads=heads, hidden_size=hidden)
    optimized.save_model_to_file(str(folder / "float32.onnx"))
    quantize_dynamic(str(raw), str(folder / "int8.onnx"), weight_type=QuantType.QInt8)


def score(arm: str, model: str, csv: str, rows: str, output: str) -> None:
    """Print the rows per second, as JSON."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(
        str(Path(output) / f"{arm}.onnx"), options, providers=["CPUExecutionProvider"]
    )
    tokenizer = BertTokenizerFast(str(Path(model) / "vocab.txt"))
    texts, _ = read(Path(csv), int(rows))

    def score_all(texts: list[str]) -> None:
        for batch in by_length(texts, SCORING_BATCH):
            chosen = [texts[number] for number in batch]
            tokens = tokenizer(chosen, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="np")
            session.run(None, {name: tokens[name].astype(np.int64) for name in _INPUTS})

    score_all(texts[:_WARM_UP_ROWS])
    started = time.perf_counter()
    score_all(texts)
    print(json.dumps(len(texts) / (time.perf_counter() - started)))


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(*sys.argv[2:])
    else:
        score(*sys.argv[1:])
