"""A model: its version, what it was trained from and how, and what is usual for it."""

from typing import Annotated

from pydantic import Field

from ml.records.wire import BY_NAME, record

# What a model in bfloat16 must reach: on so many rows it gives float32's label, so near is its average precision.
LEAST_LABELS_AGREEING = 0.999
LARGEST_AVERAGE_PRECISION_CHANGE = 0.002


@record
class NoChampion:
    """There is no champion. This is proven: the registry answered, and its alias points at no version."""


@record
class ModelVersion:
    """A version in the registry; `model` is the digest of its files."""

    version: str
    model: str


Champion = Annotated[ModelVersion | NoChampion, BY_NAME]


@record
class PretrainedWeights:
    """Training began with the pretrained encoder's weights, not with a champion's."""


@record
class Float32Form:
    """The exported model multiplies in float32."""


@record
class Bfloat16Form:
    """The exported model multiplies in bfloat16. So near is it to its float32 form on the validation rows.

    `labels_agreeing` is the share of rows with the same label, at the model's threshold; `average_precision_change` is
    the average precision in bfloat16 minus that in float32.
    """

    rows: int
    labels_agreeing: float
    average_precision_change: float

    @property
    def labels_hold(self) -> bool:
        """Whether labels agree with float32's on enough rows."""
        return self.labels_agreeing >= LEAST_LABELS_AGREEING

    @property
    def average_precision_holds(self) -> bool:
        """Whether the average precision is near enough to float32's."""
        return abs(self.average_precision_change) <= LARGEST_AVERAGE_PRECISION_CHANGE


ServedForm = Annotated[Float32Form | Bfloat16Form, BY_NAME]


@record
class TrainedModel:
    """An exported classifier; `model` is the digest of its files, `threshold` its decision threshold in [0, 1].

    `weights` is the digest of its SavedModel alone, which knows neither threshold nor origin. `rebased` says that the
    threshold was chosen by F1 alone, whatever the champion's point. `started_from` is the champion whose weights
    training began with, or the pretrained encoder. `form` says in which number format it was exported; the JSON leaves
    out float32, so that records from before there was another keep their digests.
    """

    model: str
    weights: str
    splits: str
    config: str
    encoder: str
    threshold: float
    rebased: bool
    best_epoch: int
    examples_per_second: float
    train_seconds: float
    peak_memory_bytes: int
    started_from: Annotated[ModelVersion | PretrainedWeights, BY_NAME]
    form: ServedForm = Field(default=Float32Form(), exclude_if=lambda form: isinstance(form, Float32Form))


@record
class Joined:
    """That this machine, `worker` of the `machines` from 0 on, took part in a training that worker 0 led."""

    splits: str
    worker: int
    machines: int
    seconds: float


@record
class Histogram:
    """How many rows lie in each bin: the first is below `edges[0]`, bin i from `edges[i - 1]` to below `edges[i]`."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@record
class Profile:
    """What a model's scores on some rows were like, and the texts of these rows; all are numbers of rows.

    `flagged` reached the threshold, `empty` have no text, `damaged` show a wrong decoding. `lengths` are in characters.
    A row whose text is missing has a length of 0, and no score.
    """

    rows: int
    flagged: int
    empty: int
    damaged: int
    scores: Histogram
    lengths: Histogram


@record
class UnknownProfile:
    """What is usual for the model is not known: it was trained before models kept the profile of their rows."""


KnownProfile = Annotated[Profile | UnknownProfile, BY_NAME]


@record
class ModelDescription:
    """The file model.json of a model: how to label with it, and the digests of what it was made from.

    `snapshot` is the sha256 of the CSV.
    `fitted_to` has the digests of the parts that its weights and threshold were fitted to, and those of its ancestors.
    `vocabulary` is the digest of what decides the token ids of a text. `profile` is that of its validation rows.
    """

    threshold: float
    encoder: str
    max_tokens: int
    config: str
    snapshot: str
    splits: str
    fitted_to: tuple[str, ...]
    started_from: Annotated[ModelVersion | PretrainedWeights, BY_NAME]
    vocabulary: str
    profile: KnownProfile = UnknownProfile()
