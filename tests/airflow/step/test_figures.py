"""A real task, of a real supervisor, tells its figures by OpenTelemetry to a server that listens."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

PROJECT = Path(__file__).parents[3]
# As a task's process does it: Airflow's own set-up of its metrics, then what the operator calls.
TASK = """
import json, sys
from airflow.sdk.observability.metrics import stats_utils
from airflow.sdk.observability import stats
from retraining.model import Model
from retraining.step.figures import emit
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
for step, record in json.loads(sys.argv[1]).items():
    emit(step, Model("toxic"), 2.5, record)
"""
RECORDS = {"train": {}, "decide": {"alarms": ["a", "b"]}, "promote": {"verdict": "keep"}}


@contextmanager
def listening(told: dict[tuple[str, ...], float]) -> Iterator[int]:
    """Listen as a collector does; each value is told by its name and labels."""

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for found in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in [each for scope in found.scope_metrics for each in scope.metrics]:
                    for point in [*metric.gauge.data_points, *metric.sum.data_points]:
                        labels = sorted(each.value.string_value for each in point.attributes)
                        told[metric.name, *labels] = point.as_double or point.as_int
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def run(records: Mapping[str, object], **environment: str) -> None:
    told = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}", **environment}
    subprocess.run([sys.executable, "-c", TASK, json.dumps(records)], cwd=PROJECT, env=told, check=True)


def test_steps_verdict_and_alarms_reach_a_server_of_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[tuple[str, ...], float] = {}
    with listening(told) as port:
        run(
            RECORDS,
            AIRFLOW__METRICS__OTEL_ON="True",
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"http://127.0.0.1:{port}/v1/metrics",
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        )
    assert {name: value for name, value in told.items() if "sincere" in name[0]} == {
        **{("airflow.sincere.step.seconds", *sorted(("toxic", step))): 2.5 for step in RECORDS},
        ("airflow.sincere.alarms", "toxic"): 2,
        ("airflow.sincere.verdicts", "keep", "toxic"): 1,
    }
