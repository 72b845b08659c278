"""What Kubernetes is given: each object is valid by the API's schema, and Airflow makes the pods that were meant."""

import runpy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from airflow.providers.cncf.kubernetes.executors.kubernetes_executor_utils import get_base_pod_from_template
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from kubernetes.client import V1Pod

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "deploy" / "kubernetes"
TEMPLATES = FOLDER / "pod-templates"
VERSIONS = ("1.31", "1.37")


def objects() -> list[Any]:
    files = [FOLDER / "state.yaml", *sorted(TEMPLATES.iterdir())]
    return [each for file in files for each in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def template(name: str) -> V1Pod:
    """As Airflow's executor reads it."""
    return get_base_pod_from_template(str(TEMPLATES / f"{name}.yaml"), None)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("number", range(4))
def test_each_object_is_valid_by_the_schema_of_the_api(number: int, version: str) -> None:
    kubernetes_validate.validate(objects()[number], version, strict=True)


@pytest.mark.parametrize("name", ["step", "step-gpu"])
def test_a_step_runs_with_no_right_that_it_does_not_need(name: str) -> None:
    spec = template(name).spec
    (container,) = spec.containers
    assert container.name == "base"
    assert (spec.security_context.run_as_non_root, spec.security_context.run_as_user) == (True, 50000)
    assert spec.automount_service_account_token is False
    security = container.security_context
    assert (security.allow_privilege_escalation, security.read_only_root_filesystem) == (False, True)
    assert security.capabilities.drop == ["ALL"]
    assert container.resources.limits["memory"]


@pytest.mark.parametrize("name", ["step", "step-gpu"])
def test_a_step_may_write_where_it_and_airflow_must(name: str) -> None:
    spec = template(name).spec
    volumes = {volume.name: volume for volume in spec.volumes}
    places = {mount.mount_path: volumes[mount.name] for mount in spec.containers[0].volume_mounts}
    kept = {"/opt/airflow/logs": "airflow-logs", "/var/lib/sincere": "sincere-state"}
    assert {place: places[place].persistent_volume_claim.claim_name for place in kept} == kept
    assert {place for place in places if places[place].empty_dir} >= {"/opt/airflow", "/home/sincere", "/tmp"}


def test_the_pod_of_a_training_has_a_gpu_its_toleration_and_shared_memory_and_is_else_the_same() -> None:
    step, gpu = template("step").spec, template("step-gpu").spec
    (container,) = gpu.containers
    assert container.resources.limits["nvidia.com/gpu"] == "1"
    assert [(each.key, each.effect) for each in gpu.tolerations] == [("nvidia.com/gpu", "NoSchedule")]
    memory = next(volume.empty_dir for volume in gpu.volumes if volume.name == "shared-memory")
    assert (memory.medium, memory.size_limit) == ("Memory", "2Gi")
    assert container.volume_mounts[:-1] == step.containers[0].volume_mounts
    assert (container.env, container.env_from) == (step.containers[0].env, step.containers[0].env_from)
    assert gpu.termination_grace_period_seconds == step.termination_grace_period_seconds == 600


def test_training_and_evaluation_alone_have_the_pod_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = next(each["data"] for each in objects() if each["kind"] == "ConfigMap")
    monkeypatch.setenv("SINCERE_GPU_POD_TEMPLATE", settings["SINCERE_GPU_POD_TEMPLATE"])
    dag: DAG = runpy.run_path(str(PROJECT / "dags" / "retrain_quora.py"))["retrain_quora"]
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    config = {"pod_template_file": "/opt/sincere-pods/step-gpu.yaml"}
    assert {task.task_id: task.executor_config for task in read.tasks if task.executor_config} == {
        "train": config,
        "evaluate": config,
    }


def test_the_charts_values_lead_to_the_templates_and_the_state_that_are_there() -> None:
    values = yaml.safe_load((FOLDER / "values.yaml").read_text(encoding="utf-8"))
    place = Path(values["config"]["kubernetes_executor"]["pod_template_file"])
    assert (TEMPLATES / place.name).is_file()
    assert place.parent == Path(values["scheduler"]["extraVolumeMounts"][0]["mountPath"])
    claims = {volume["persistentVolumeClaim"]["claimName"] for volume in values["dagProcessor"]["extraVolumes"]}
    assert claims == {each["metadata"]["name"] for each in objects() if each["kind"] == "PersistentVolumeClaim"}


def test_the_charts_values_and_the_locks_name_the_same_airflow() -> None:
    values = yaml.safe_load((FOLDER / "values.yaml").read_text(encoding="utf-8"))
    lock = (PROJECT / "requirements" / "airflow.txt").read_text(encoding="utf-8")
    assert f"\napache-airflow=={values['airflowVersion']} " in lock
    assert "\napache-airflow-providers-cncf-kubernetes==" in lock
