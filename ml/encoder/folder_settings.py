"""The settings in a Hugging Face folder that change what its encoder gives: each is read, or refused by its name."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ml.encoder.weights import BertSizes, Pooling
from ml.errors import ConfigError, raise_if_passing

Settings = dict[str, Any]

ACTIVATION_NAMES = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")
_SIZE_KEYS = {
    "vocabulary": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
}
_SHARE_KEYS = {"dropout": "hidden_dropout_prob", "attention_dropout": "attention_probs_dropout_prob"}

# The only values of these keys that the encoder here has; null and an absent key mean the first of them.
_MODEL_VALUES: Mapping[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "pruned_heads": ({},),
    "quantization_config": ({},),
}
_TOKENIZER_VALUES: Mapping[str, tuple[Any, ...]] = {
    "tokenizer_class": tuple(
        f"{model}Tokenizer{kind}" for model in ("Bert", "DistilBert", "Electra", "PreTrained") for kind in ("", "Fast")
    ),
    "tokenize_chinese_chars": (True,),
    "do_basic_tokenize": (True,),
    "never_split": ([],),
    "truncation_side": ("right",),
    "wordpieces_prefix": ("##",),
    "pad_token": ("[PAD]",),
    "unk_token": ("[UNK]",),
    "cls_token": ("[CLS]",),
    "sep_token": ("[SEP]",),
}
_NORMALIZER_VALUES: Mapping[str, tuple[Any, ...]] = {
    "type": ("BertNormalizer",),
    "clean_text": (True,),
    "handle_chinese_chars": (True,),
}
_WORDPIECE_VALUES: Mapping[str, tuple[Any, ...]] = {
    "type": ("WordPiece",),
    "unk_token": ("[UNK]",),
    "continuing_subword_prefix": ("##",),
    "max_input_chars_per_word": (100,),
}
_POOLINGS: Mapping[str, Pooling] = {"cls": "first token", "mean": "mean"}
_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """How texts become tokens; `vocabulary` is that of tokenizer.json, empty if it has none."""

    lower_case: bool
    vocabulary: tuple[str, ...]


def read_sizes(folder: Path) -> BertSizes:
    """Read config.json; raises ConfigError if it is not that of a BERT as it is built here."""
    file = "config.json"
    config = read_json(folder / file)
    if config.get("model_type", "bert") != "bert":
        _refuse(f"not the {file} of a BERT: its model_type is another", file)
    _check_values(config, _MODEL_VALUES, file)
    for key in _SIZE_KEYS.values():
        if type(config.get(key)) is not int or config[key] < 1:
            _refuse(f"not the {file} of a BERT: no whole number {key}", file)
    config.setdefault("hidden_dropout_prob", 0.1)
    config.setdefault("attention_probs_dropout_prob", config["hidden_dropout_prob"])
    config.setdefault("layer_norm_eps", 1e-12)
    config.setdefault("hidden_act", "gelu")
    for key in _SHARE_KEYS.values():
        _check(config, key, lambda value: _is_number(value) and 0 <= value < 1, "a number from 0 to below 1", file)
    _check(
        config, "layer_norm_eps", lambda value: _is_number(value) and 0 < value < 1, "a number between 0 and 1", file
    )
    _check(config, "hidden_act", lambda value: value in ACTIVATION_NAMES, f"one of {', '.join(ACTIVATION_NAMES)}", file)
    if config["hidden_size"] % config["num_attention_heads"]:
        _refuse("hidden_size is no multiple of num_attention_heads", file)
    return BertSizes(
        **{field: config[key] for field, key in {**_SIZE_KEYS, **_SHARE_KEYS}.items()},
        activation=config["hidden_act"],
        layer_norm_epsilon=config["layer_norm_eps"],
    )


def read_pooling(folder: Path, *, has_pooler: bool) -> Pooling:
    """Read how a sentence-transformers folder pools; any other BERT uses its pooler, or the first token without one."""
    file = "1_Pooling/config.json"
    _check_modules(folder)
    if not (folder / file).is_file():
        return "pooler" if has_pooler else "first token"
    settings = read_json(folder / file)
    mode = settings.get("pooling_mode") or [name for key, name in _POOLING_FLAGS.items() if settings.get(key)]
    modes = [mode] if isinstance(mode, str) else mode
    if not isinstance(modes, list) or len(modes) != 1 or modes[0] not in _POOLINGS:
        _refuse("pooling_mode is neither mean alone nor cls alone", file)
    return _POOLINGS[modes[0]]


def read_tokenizer(folder: Path) -> TokenizerSettings:
    """Read tokenizer_config.json and tokenizer.json, if they are there; raises ConfigError if they ask for another way.

    Both may say whether letters become lower case, and must agree.
    """
    config, tokenizer = (read_json(folder / name, {}) for name in ("tokenizer_config.json", "tokenizer.json"))
    tokens = {key: _token(value) for key, value in config.items()}
    _check_values(tokens, _TOKENIZER_VALUES, "tokenizer_config.json")
    said = [_lower_case(config, "do_lower_case", "tokenizer_config.json")]
    if tokenizer:
        said += [_check_tokenizer(tokenizer, "tokenizer.json")]
    stated = {each for each in said if each is not None}
    if len(stated) > 1:
        _refuse("do_lower_case contradicts the normalizer of tokenizer.json", "tokenizer_config.json")
    lower_case = stated.pop() if stated else True
    sentences = read_json(folder / "sentence_bert_config.json", {})
    if sentences.get("do_lower_case") and not lower_case:
        _refuse("do_lower_case contradicts tokenizer_config.json", "sentence_bert_config.json")
    return TokenizerSettings(lower_case=lower_case, vocabulary=_vocabulary(tokenizer))


def read_json(path: Path, absent: Settings | None = None) -> Settings:
    """Read a JSON object; an absent file is `absent`, if that is given. Raises ConfigError if it is no such object."""
    if absent is not None and not path.is_file():
        return absent
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise_if_passing(error)
        tree = None
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path.name} is missing or not JSON", where="[encoder] source", fix="give a whole Hugging Face folder"
        )
    return tree


def _check_tokenizer(tokenizer: Settings, file: str) -> bool | None:
    """Tell whether letters become lower case, if the normalizer says so."""
    normalizer, model = (tokenizer.get(key) or {} for key in ("normalizer", "model"))
    if not isinstance(normalizer, dict) or not isinstance(model, dict):
        _refuse("normalizer or model is no object", file)
    _check_values(normalizer, _NORMALIZER_VALUES, f"{file}, normalizer")
    _check_values(model, _WORDPIECE_VALUES, f"{file}, model")
    _check_values(tokenizer.get("pre_tokenizer") or {}, {"type": ("BertPreTokenizer",)}, f"{file}, pre_tokenizer")
    return _lower_case(normalizer, "lowercase", f"{file}, normalizer")


def _lower_case(settings: Settings, key: str, file: str) -> bool | None:
    """Read whether letters become lower case; accents must go then, and only then."""
    lower_case, strip_accents = settings.get(key), settings.get("strip_accents")
    if lower_case is not None and not isinstance(lower_case, bool):
        _refuse(f"{key} is neither true nor false", file)
    if strip_accents is not None and strip_accents is not (lower_case is not False):
        _refuse(f"strip_accents is not what {key} is", file)
    return lower_case


def _vocabulary(tokenizer: Settings) -> tuple[str, ...]:
    """Return the tokens in the order of their ids, which must be 0, 1, 2 and so on; empty if there are none."""
    ids = (tokenizer.get("model") or {}).get("vocab") or {}
    if not isinstance(ids, dict) or sorted(map(str, ids.values())) != sorted(map(str, range(len(ids)))):
        _refuse("the ids of vocab are not 0, 1, 2 and so on", "tokenizer.json, model")
    return tuple(sorted(ids, key=ids.__getitem__))


def _check_modules(folder: Path) -> None:
    """Refuse layers of a sentence-transformers folder that would be left out, such as Dense."""
    path = folder / "modules.json"
    if not path.is_file():
        return
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        types = [str(modules[place]["type"]).rpartition(".")[2] for place in range(len(modules))]
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise_if_passing(error)
        types = []
    if not types:
        _refuse("not a list of modules with their types", path.name)
    if any(kind not in _MODULES for kind in types):
        _refuse(f"there is a module other than {', '.join(_MODULES)}", path.name)


def _token(value: Any) -> Any:
    """Return the content of a token, which newer files keep as an object."""
    return value["content"] if isinstance(value, dict) and "content" in value else value


def _check_values(settings: Settings, values: Mapping[str, tuple[Any, ...]], file: str) -> None:
    for key, allowed in values.items():
        if settings.get(key) is not None and settings[key] not in allowed:
            _refuse(f"{key} is not {json.dumps(allowed[0])}, the only way it is done here", file)


def _check(settings: Settings, key: str, is_valid: Callable[[Any], bool], what: str, file: str) -> None:
    if not is_valid(settings.get(key)):
        _refuse(f"{key} is not {what}", file)


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}


def _refuse(what: str, file: str) -> NoReturn:
    raise ConfigError(what, where=f"[encoder] source, file {file}", fix="use a BERT without it, or mend the file")
