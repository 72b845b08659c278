"""Contents as W&B's own objects."""

from pathlib import Path
from typing import Any

from ml.tracking.contents import Content, Place
from ml.tracking.tables import Table

# Where bytes are that are not uploaded: below this home, on the machine that ran the step.
HOME_SCHEME = "sincere-home"


def make_artifact(content: Content, place: Place) -> Any:
    """An artifact of the content; questions are in it if the config says so, else only where they are."""
    import wandb

    artifact = wandb.Artifact(content.name, content.type, description=content.description, metadata=dict(content.facts))
    for name, file in content.files.items():
        _add(artifact, name, file)
    for name, path in content.rows.items():
        if place.config.tracking.upload_rows:
            _add(artifact, name, path)
        else:
            kept = place.pipeline_run.store.relative(path)
            artifact.add_reference(f"{HOME_SCHEME}:store/{kept}", name=name, checksum=False)
    for name, table in content.tables.items():
        artifact.add(make_table(table), name)
    return artifact


def make_media(content: Content) -> dict[str, Any]:
    """The content's tables and pictures, to be looked at beside the run's figures."""
    import wandb

    tables = {f"tables/{name}": make_table(table) for name, table in content.tables.items()}
    pictures = {
        f"pictures/{name.removesuffix('.svg')}": wandb.Html(file, inject=False)
        for name, file in content.files.items()
        if isinstance(file, str) and name.endswith(".svg")
    }
    return {**tables, **pictures}


def make_table(table: Table) -> Any:
    """A table of W&B."""
    import wandb

    return wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])


def _add(artifact: Any, name: str, file: Path | str) -> None:
    if isinstance(file, Path):
        # What is in the store never changes: no copy has to be made of it.
        artifact.add_file(str(file), name=name, policy="immutable", skip_cache=True)
    else:
        with artifact.new_file(name) as text:
            text.write(file)
