"""Check before any work, and without TensorFlow, that the configured encoder can be used."""

from pathlib import Path
from typing import NoReturn

from ml.config import EncoderConfig
from ml.config.redaction import PACKAGE
from ml.encoder.huggingface import WEIGHTS_FILE, package_folder, read_huggingface
from ml.encoder.saved_model import SavedModel, read_saved_model
from ml.encoder.weights import PretrainedBert, check_vocabulary, read_vocabulary
from ml.errors import ConfigError, raise_if_passing

MODULE_FILE = "saved_model.pb"
# https://www.tensorflow.org/hub/common_saved_model_apis/text ("Transformer encoders")
_NEEDED = {"vocab_file", "do_lower_case", "__call__"}
_INTERFACE = (b"input_word_ids", b"input_mask", b"input_type_ids", b"pooled_output")
_EMBEDDINGS = ("word_embeddings/embeddings", "position_embedding/embeddings")


def check_encoder(settings: EncoderConfig) -> None:
    """Raise ConfigError if there is no encoder at a local source, or if it cannot be used.

    A module that is still to be downloaded is checked by the step that trains.
    """
    if "://" in settings.source:
        return
    folder = local_folder(settings.source)
    if (folder / MODULE_FILE).is_file():
        _check_module(folder, settings.max_tokens)
    else:
        check_positions(read_folder(folder).sizes.positions, settings.max_tokens)


def _check_module(folder: Path, max_tokens: int) -> None:
    """Raise ConfigError for a SavedModel that is no BERT of TF-Hub, or that lacks a file."""
    content, module = _read_module(folder / MODULE_FILE)
    if not module.attributes >= _NEEDED:
        _refuse("the module has no vocabulary, or cannot be called", "`vocab_file` and `do_lower_case`")
    if not all(name in content for name in _INTERFACE):
        _refuse("the module does not take three inputs and give `pooled_output`", "its usual interface")
    for file in (Path("variables", "variables.index"), *(Path("assets", name) for name in module.assets)):
        if not (folder / file).is_file():
            _refuse(f"the module's file {file.name} is missing", "all of its files")
    embeddings, positions = (module.shapes.get(name, ()) for name in _EMBEDDINGS)
    for name in module.assets if len(module.assets) == 1 and embeddings else ():
        check_vocabulary(read_vocabulary(folder / "assets" / name), embeddings[0])
    if positions:
        check_positions(positions[0], max_tokens)


def _read_module(file: Path) -> tuple[bytes, SavedModel]:
    try:
        content = file.read_bytes()
        return content, read_saved_model(content)
    except (OSError, ValueError) as error:
        raise_if_passing(error)
        _refuse(f"{file.name} cannot be read ({type(error).__name__})", "all of its files")


def _refuse(what: str, needed: str) -> NoReturn:
    raise ConfigError(what, where="[encoder] source", fix=f"use a BERT encoder of TF-Hub, with {needed}")


def local_folder(source: str) -> Path:
    """Return the folder of a source that is a package or a path."""
    return package_folder(source.removeprefix(PACKAGE)) if source.startswith(PACKAGE) else Path(source)


def read_folder(folder: Path) -> PretrainedBert:
    """Read a folder in Hugging Face's layout; raises ConfigError if it is none."""
    if not (folder / WEIGHTS_FILE).is_file():
        raise ConfigError(
            "there is no encoder at the source",
            where="[encoder] source",
            fix=f"name a folder with {MODULE_FILE} or with {WEIGHTS_FILE}, a TF-Hub handle, or {PACKAGE}NAME",
        )
    return read_huggingface(folder)


def check_positions(positions: int, max_tokens: int) -> None:
    """Raise ConfigError if a text may have more tokens than the encoder has positions."""
    if max_tokens > positions:
        raise ConfigError(
            f"{max_tokens} tokens are more than the encoder's {positions} positions",
            where="[encoder] max_tokens",
            fix=f"set it to {positions} or less",
        )
