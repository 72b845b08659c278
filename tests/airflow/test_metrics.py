"""The dashboard asks for figures that Airflow emits, by the names that Prometheus gives them."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.airflow.test_deployment import PROJECT, SECRETS
from tests.production import compose_services

DEPLOY = PROJECT / "deploy"
# https://prometheus.io/docs/guides/opentelemetry: a counter ends in _total, and a unit is part of the name.
ENDINGS = {"counter": "_total", "timer": "_milliseconds", "gauge": ""}


def emitted() -> set[str]:
    """The names of all metrics that Airflow knows, as Prometheus writes them."""
    registry = files("airflow") / "_shared" / "observability" / "metrics" / "metrics_template.yaml"
    known = yaml.safe_load(registry.read_text(encoding="utf-8"))["metrics"]
    return {f"airflow_{re.sub(r'[^a-z_]', '_', each['name'])}{ENDINGS[each['type']]}" for each in known}


def asked() -> dict[str, set[str]]:
    """The metrics in each panel's questions."""
    (file,) = (DEPLOY / "grafana" / "dashboards").iterdir()
    panels = json.loads(file.read_text(encoding="utf-8"))["panels"]
    return {
        panel["title"]: {name for target in panel["targets"] for name in re.findall(r"airflow_\w+", target["expr"])}
        for panel in panels
    }


@pytest.mark.parametrize("title", list(asked()))
def test_each_panel_asks_for_what_airflow_emits(title: str) -> None:
    assert asked()[title]
    assert asked()[title] - emitted() == set()


def test_the_dashboard_asks_the_source_of_data_that_is_there() -> None:
    (sources,) = (DEPLOY / "grafana" / "provisioning" / "datasources").iterdir()
    (source,) = yaml.safe_load(sources.read_text(encoding="utf-8"))["datasources"]
    (file,) = (DEPLOY / "grafana" / "dashboards").iterdir()
    panels = json.loads(file.read_text(encoding="utf-8"))["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.parametrize(("told", "on"), [({}, "False"), ({"METRICS": "True"}, "True")])
def test_figures_are_sent_where_somebody_asks_for_them(told: dict[str, str], on: str) -> None:
    services: dict[str, Any] = compose_services({**SECRETS, **told})
    parts = [each["environment"] for each in services.values() if "SINCERE_REGISTRY" in each.get("environment", {})]
    assert {part["AIRFLOW__METRICS__OTEL_ON"] for part in parts} == {on}
    address = "http://prometheus:9090/api/v1/otlp/v1/metrics"
    assert {part["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] for part in parts} == {address}


def test_the_dashboard_is_where_grafana_looks_for_it() -> None:
    grafana = compose_services(SECRETS)["grafana"]
    place = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    mounted = dict(mount.split(":")[:2] for mount in grafana["volumes"])
    (folder,) = (here for here, there in mounted.items() if there == str(place.parent))
    assert (PROJECT / folder / place.name).is_file()
