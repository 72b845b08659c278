"""The W&B Report of a promotion: the decision, both models side by side, curves, slices, and the way to everything."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ml.records import Comparison, Decision, Promotion, from_json, to_json
from ml.report.figures import champion_name, columns_by_role, figure_rows

_PLAIN = ("entity", "project", "run_id", "run_url")
_RECORDS = {"comparison": Comparison, "decision": Decision, "promotion": Promotion}
_LONGEST_TITLE = 128
_VALIDATION = ("average_precision", "precision", "recall", "precision_at_recall_50")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PromotionReport:
    """What a report is made of; `run_id` names the pipeline's run, the group of its runs in W&B."""

    entity: str
    project: str
    run_id: str
    run_url: str
    comparison: Comparison
    decision: Decision
    promotion: Promotion

    @property
    def title(self) -> str:
        """What people find it by, and we too."""
        return f"Promotion of {self.promotion.version} by {self.run_id}"[:_LONGEST_TITLE]

    def write_once(self) -> None:
        """Make the report, unless the project has one of that title; raises the client's errors."""
        import wandb

        reports = wandb.Api().reports(f"{self.entity}/{self.project}")
        if self.title not in {report.display_name for report in reports}:
            logger.info("report in W&B: %s", self._write())

    def to_json(self) -> str:
        """To be kept until it can be written."""
        records = {name: to_json(getattr(self, name)) for name in _RECORDS}
        return json.dumps({**{name: getattr(self, name) for name in _PLAIN}, **records})

    @classmethod
    def from_json(cls, text: str) -> "PromotionReport":
        """What was kept."""
        kept = json.loads(text)
        return cls(**{**kept, **{name: from_json(kept[name], kind) for name, kind in _RECORDS.items()}})

    def _write(self) -> str:
        """Gives the address."""
        import wandb_workspaces.reports.v2 as wr

        curves = [f"pictures/{name}" for name in ("precision_recall", *_matrices(self.comparison))]
        panels = [
            wr.LinePlot(title="Loss on training rows", x="Step", y=["train/loss"]),
            wr.LinePlot(title="On validation rows", x="Step", y=[f"validation/{name}" for name in _VALIDATION]),
            wr.MediaBrowser(title="Curves and confusion matrices", media_keys=curves),
            wr.WeavePanelSummaryTable(table_name="tables/slices"),
            wr.WeavePanelSummaryTable(table_name="tables/checks"),
        ]
        group = f"Metric('Group') = '{self.run_id}'"
        runs = wr.Runset(entity=self.entity, project=self.project, name=self.run_id, filters=group)
        report = wr.Report(
            entity=self.entity,
            project=self.project,
            title=self.title,
            description=self.decision.reason,
            blocks=[wr.MarkdownBlock(self._summary()), wr.PanelGrid(runsets=[runs], panels=panels)],
        )
        report.save()
        return str(report.url)

    def _summary(self) -> str:
        promotion, decision = self.promotion, self.decision
        checks = [
            ("✓" if check.passed else "✗", check.rule, check.observed, check.required) for check in decision.checks
        ]
        figures = [(name, *values) for name, values in figure_rows(self.comparison)]
        return "\n\n".join(
            [
                f"**{promotion.version}** took over `{promotion.alias}` from {champion_name(promotion.previous)}."
                f" {decision.reason}",
                _table(("", "rule", "observed", "required"), checks),
                _table(("", *columns_by_role(self.comparison)), figures),
                f"Run: {self.run_url}, {decision.triggered_by}. Decision `{promotion.decision}`.",
            ]
        )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _matrices(comparison: Comparison) -> list[str]:
    return [f"confusion_{role}" for role in columns_by_role(comparison) if role != "baseline"]
