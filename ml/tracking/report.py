"""The W&B Report of a promotion: the decision, both models side by side, curves, slices, and the way to everything."""

from collections.abc import Sequence
from typing import Any

from ml.gate.summary import champion_name, columns_by_role, figure_rows
from ml.records import Comparison, Decision, Promotion
from ml.workspace import Workspace

_VALIDATION = ("average_precision", "precision", "recall", "precision_at_recall_50")


def write_report(
    run: Any, workspace: Workspace, *, comparison: Comparison, decision: Decision, promotion: Promotion
) -> str:
    """Make the report in the project of the run; gives its address."""
    import wandb_workspaces.reports.v2 as wr

    report = wr.Report(
        entity=run.entity,
        project=run.project,
        title=report_title(promotion, workspace.run_id),
        description=decision.reason,
        blocks=[
            wr.MarkdownBlock(_summary(workspace, comparison, decision, promotion)),
            wr.PanelGrid(
                runsets=[
                    wr.Runset(
                        entity=run.entity,
                        project=run.project,
                        name=workspace.run_id,
                        filters=f"Metric('Group') = '{workspace.run_id}'",
                    )
                ],
                panels=[
                    wr.LinePlot(title="Loss on training rows", x="Step", y=["train/loss"]),
                    wr.LinePlot(title="On validation rows", x="Step", y=[f"validation/{name}" for name in _VALIDATION]),
                    wr.MediaBrowser(
                        title="Curves and confusion matrices",
                        media_keys=[f"pictures/{name}" for name in ("precision_recall", *_matrices(comparison))],
                    ),
                    wr.WeavePanelSummaryTable(table_name="tables/slices"),
                    wr.WeavePanelSummaryTable(table_name="tables/checks"),
                ],
            ),
        ],
    )
    report.save()
    return str(report.url)


def report_title(promotion: Promotion, run_id: str) -> str:
    """What people find it by."""
    return f"Promotion of {promotion.version} by {run_id}"[:128]


def _summary(workspace: Workspace, comparison: Comparison, decision: Decision, promotion: Promotion) -> str:
    checks = [("✓" if check.passed else "✗", check.rule, check.observed, check.required) for check in decision.checks]
    figures = [(name, *values) for name, values in figure_rows(comparison)]
    return "\n\n".join(
        [
            f"**{promotion.version}** took over `{promotion.alias}` from {champion_name(promotion.previous)}."
            f" {decision.reason}",
            _table(("", "rule", "observed", "required"), checks),
            _table(("", *columns_by_role(comparison)), figures),
            f"Run: {workspace.run_url}, {decision.triggered_by}. Decision `{promotion.decision}`.",
        ]
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _matrices(comparison: Comparison) -> list[str]:
    return [f"confusion_{role}" for role in columns_by_role(comparison) if role != "baseline"]
