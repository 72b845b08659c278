# Two images from the same locks: `airflow` schedules and serves the UI, `ml` runs the steps.
#   docker compose build

FROM python:3.12-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/sincere \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/sincere/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/sincere/plugins \
    SINCERE_HOME=/var/lib/sincere
RUN useradd --create-home --uid 50000 sincere \
    && mkdir -p /opt/sincere /opt/airflow/logs /var/lib/sincere \
    && chown -R sincere /opt/airflow /var/lib/sincere \
    && pip install --no-cache-dir uv==0.13.9 \
    && uv venv /opt/venv
WORKDIR /opt/sincere

# A lock names all packages, so that nothing is resolved here: what a package asks for beyond it (PyTorch) stays out.
FROM base AS airflow
COPY requirements/airflow.txt requirements/
RUN uv pip install --no-cache --no-deps --compile-bytecode --python /opt/venv/bin/python --require-hashes --requirements requirements/airflow.txt
COPY ml ml
COPY dags dags
COPY plugins plugins
# By number, so that Kubernetes sees that it is not root.
USER 50000

FROM base AS ml
# requirements/cuda.txt is requirements/all.txt and NVIDIA's libraries.
ARG LOCK=all
COPY requirements/all.txt requirements/cuda.txt requirements/
RUN uv pip install --no-cache --no-deps --compile-bytecode --python /opt/venv/bin/python --require-hashes --requirements requirements/${LOCK}.txt
ENV TF_USE_LEGACY_KERAS=1 \
    GX_ANALYTICS_ENABLED=false
COPY expectations expectations
COPY ml ml
COPY dags dags
COPY plugins plugins
USER 50000
