"""Check before any work, and without TensorFlow, that the configured encoder can be used."""

from pathlib import Path

from ml.config import EncoderConfig
from ml.config.redaction import PACKAGE
from ml.encoder.huggingface import WEIGHTS_FILE, package_folder, read_huggingface
from ml.encoder.weights import PretrainedBert
from ml.errors import ConfigError

MODULE_FILE = "saved_model.pb"


def check_encoder(settings: EncoderConfig) -> None:
    """Raise ConfigError if there is no encoder at a local source, or a folder in Hugging Face's layout cannot be used.

    A TF-Hub module is checked only by the step that trains.
    """
    if "://" in settings.source:
        return
    folder = local_folder(settings.source)
    if not (folder / MODULE_FILE).is_file():
        check_positions(read_folder(folder), settings.max_tokens)


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


def check_positions(pretrained: PretrainedBert, max_tokens: int) -> None:
    """Raise ConfigError if a text may have more tokens than the encoder has positions."""
    if max_tokens > pretrained.sizes.positions:
        raise ConfigError(
            f"{max_tokens} tokens are more than the encoder's {pretrained.sizes.positions} positions",
            where="[encoder] max_tokens",
            fix=f"set it to {pretrained.sizes.positions} or less",
        )
