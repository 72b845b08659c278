"""The model card that stands beside a model in W&B, after Mitchell et al. 2019 (arXiv:1810.03993)."""

import json

from ml.config import Config
from ml.config.redaction import public_settings
from ml.records import TrainedModel

_CARD = """\
# Insincere questions

Gives the probability that a question is insincere: not asked to learn something, but to make a statement. One
SavedModel that takes raw strings; `model.json` beside it has the decision threshold.

| | |
|---|---|
| encoder | `{encoder}` |
| threshold | {threshold:.4f} |
| epoch kept | {best_epoch} |
| training | {train_seconds:,.0f} s, {examples_per_second:,.0f} examples per second |
| model, sha256 | `{model}` |
| splits, sha256 | `{splits}` |

**Use.** To sort questions for moderators. Not to judge people, and not for other languages than that of its training
rows: its labels come from one site, are noisy, and lean on the words of a few groups that insincere questions name.

**How good it is** stands in the evaluation that this model is an input of: figures, curves and slices on test rows
whose texts no training row shares. Whether it serves is said by the alias `production`.

**Trained with**

```json
{settings}
```
"""


def model_card(trained: TrainedModel, config: Config) -> str:
    """The card as Markdown: what it is, how it was made, what it is for."""
    shown = public_settings(config)
    settings = {section: shown[section] for section in ("encoder", "train", "threshold", "split")}
    return _CARD.format(
        encoder=trained.encoder,
        threshold=trained.threshold,
        best_epoch=trained.best_epoch,
        train_seconds=trained.train_seconds,
        examples_per_second=trained.examples_per_second,
        model=trained.model,
        splits=trained.splits,
        settings=json.dumps(settings, indent=2, sort_keys=True),
    )
