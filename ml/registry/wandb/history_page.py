"""The page that shows the history in W&B: one run with a table of all decisions, and charts by version.

It is made again from the history after each entry. Nobody reads data from it, so nothing is lost if it is deleted.
"""

from collections.abc import Sequence
from typing import Any

from ml.records import Champion, ChampionFigures, ChampionUnmeasured, Gains, HistoryEntry, ModelVersion, NoGains
from ml.registry.wandb.address import Address
from ml.registry.wandb.client import Client

_COLUMNS = (
    "time",
    "run",
    "verdict",
    "reason",
    "candidate",
    "champion before",
    "champion after",
    "precision",
    "recall",
    "F1",
    "average precision",
    "gain in precision",
    "gain in recall",
    "gain in F1",
    "champion's precision",
    "champion's recall",
    "triggered by",
    "model",
    "runs",
)


def draw_history(client: Client, entries: Sequence[HistoryEntry]) -> None:
    """Make the page again; raises what the client raises."""
    import wandb

    with client.run("history", id=page_id(client.address), name="promotion history", resume="allow") as run:
        links = _Links(client.address, run.project_url)
        table = wandb.Table(columns=list(_COLUMNS), data=[_row(entry, links) for entry in entries])
        run.log({"decisions": table, **_charts(entries)})


def page_id(address: Address) -> str:
    """Return the id of the page's run, which never changes."""
    return f"promotion-history-{address.model}"


class _Links:
    def __init__(self, address: Address, project_url: str) -> None:
        self._model, self._project_url = address.model, project_url

    def model(self, version: str) -> str:
        return f"{self._project_url}/artifacts/model/{self._model}/{version}"

    def runs(self, run_id: str) -> str:
        return f"{self._project_url}/groups/{run_id}"


def _row(entry: HistoryEntry, links: _Links) -> list[Any]:
    before = _name(entry.previous)
    return [
        entry.time,
        entry.run_id,
        entry.verdict,
        entry.reason,
        entry.version,
        before,
        entry.version if entry.promoted else before,
        entry.precision,
        entry.recall,
        entry.f1,
        entry.average_precision,
        *_gains(entry.gains),
        *_watched(entry.watch),
        entry.triggered_by,
        links.model(entry.version),
        links.runs(entry.run_id),
    ]


def _gains(gains: Gains | NoGains) -> list[str]:
    """Return each gain with its interval; both bounds together have the confidence 2 x `confidence` - 1."""
    if isinstance(gains, NoGains):
        return ["none", "none", "none"]
    return [
        f"{gain.difference:+.4f} ({gain.lower:+.4f} to {gain.upper:+.4f}, {2 * gains.confidence - 1:.0%})"
        for gain in (gains.precision, gains.recall, gains.f1)
    ]


def _watched(watch: ChampionFigures | ChampionUnmeasured) -> list[float | None]:
    """Return the champion's precision and recall; None, an empty cell of W&B's table, if it was not measured."""
    return [None, None] if isinstance(watch, ChampionUnmeasured) else [watch.precision, watch.recall]


def _charts(entries: Sequence[HistoryEntry]) -> dict[str, Any]:
    """Return charts of each version's precision and recall, from the last decision about it."""
    import wandb

    judged = {int(entry.version[1:]): entry for entry in entries if entry.verdict != "rollback"}
    versions = sorted(judged)
    return {
        f"{figure} by version": wandb.plot.line_series(
            xs=versions,
            ys=[[getattr(judged[version], figure) for version in versions]],
            keys=[figure],
            title=f"{figure} by version",
            xname="version",
        )
        for figure in ("precision", "recall")
    }


def _name(champion: Champion) -> str:
    return champion.version if isinstance(champion, ModelVersion) else "none"
