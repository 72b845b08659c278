"""Which pod a task has on Kubernetes; other executors pass it over."""

import os


def gpu_pod() -> dict[str, str]:
    """Return what gives a task the pod of the template that SINCERE_GPU_POD_TEMPLATE names, if it names one."""
    template = os.environ.get("SINCERE_GPU_POD_TEMPLATE")
    return {"pod_template_file": template} if template else {}
