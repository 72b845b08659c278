"""W&B's own client, asked so that each question gets an answer, or RegistryUnavailable, in bounded time.

The client tells "there is none" and "I may not look" by the same error. So what is not there is proven here: the
account belongs to the entity, and the project, its types and their collections were listed without it. A project that
is hidden from this key is not listed either; but then the key cannot write to it, and no model can be crowned there.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ml.errors import ConfigError, RegistryDamaged, RegistryRefused, RegistryUnavailable, SincereError
from ml.progress import progress
from ml.registry.wandb.address import Address
from ml.registry.wandb.login import has_login

_CHUNK_BYTES = 1 << 20
_FORBIDDEN = 403
_REFUSED = {401, _FORBIDDEN}


class Client:
    """One connection, opened by the first question; objects of the client's own types go in and out."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._known: set[tuple[str, str]] = set()

    @cached_property
    def api(self) -> Any:
        """W&B's public API."""
        return self._connect()

    def _connect(self) -> Any:
        """Raises ConfigError without a key, which the client would ask for on the terminal."""
        import wandb

        if not has_login(os.environ):
            raise ConfigError(
                "there is no key for W&B",
                where=self.address.where,
                fix="set WANDB_API_KEY or use `wandb login`; in Airflow, the password of the connection wandb_default",
            )
        return wandb.Api(timeout=self.address.timeout_seconds)  # type: ignore[arg-type]

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn whatever goes wrong on the way into one of ours; the client's own words are not repeated.

        RegistryRefused if the server does not accept the key, which no retry mends; else RegistryUnavailable.
        """
        try:
            yield
        except SincereError:
            raise
        except Exception as error:  # each of the client's layers has errors of its own
            if _status(error) in _REFUSED or type(error).__name__ == "AuthenticationError":
                raise RegistryRefused(
                    f"W&B does not accept the key: {_reason(error)}",
                    where=self.address.where,
                    fix="make a new key at W&B, whose account may read and write there, and set WANDB_API_KEY",
                ) from None
            raise RegistryUnavailable(
                f"W&B gave no definite answer: {_reason(error)}",
                where=self.address.where,
                fix="see that W&B can be reached from here, then try again",
            ) from None

    @contextmanager
    def asking_for(self, right: str, *, of: str) -> Iterator[None]:
        """Turn a refusal into RegistryRefused, which names the right."""
        import wandb

        try:
            yield
        except wandb.errors.CommError as error:
            if not is_refusal(error):
                raise
            raise RegistryRefused(
                f"the key may not {right}",
                where=of,
                fix="have an administrator of it give the key's account that right",
            ) from None

    def aliases(self, kind: str, name: str) -> Sequence[str]:
        """All aliases in a collection, read at once; none if it is proven not to be there."""
        if not self._exists(kind, name):
            return ()
        aliases: Sequence[str] = self.api.artifact_collection(kind, self._path(name)).aliases
        return aliases

    def versions(self, kind: str, name: str) -> list[Any]:
        """All versions in a collection, oldest first; none if it is proven not to be there."""
        if not self._exists(kind, name):
            return []
        artifacts = {
            artifact.version: artifact for artifact in self.api.artifacts(kind, self._path(name), per_page=200)
        }
        return [artifacts[version] for version in sorted(artifacts, key=lambda version: int(version[1:]))]

    def artifact(self, name: str, version: str) -> Any:
        """One version, by its number or an alias."""
        return self.api.artifact(f"{self._path(name)}:{version}")

    @contextmanager
    def run(self, job_type: str, **how: str) -> Iterator[Any]:
        """A short run to write from, that says nothing of this machine; how: see wandb.init."""
        import wandb

        with TemporaryDirectory(prefix="wandb-") as folder:
            run = wandb.init(
                entity=self.address.entity,
                project=self.address.project,
                job_type=job_type,
                settings=self._run_settings(folder),
                **how,  # type: ignore[arg-type]
            )
            try:
                yield run
            except BaseException:
                run.finish(exit_code=1)
                raise
            run.finish()

    def upload(self, run: Any, artifact: Any) -> Any:
        """Log an artifact, and wait until it is whole on the other side."""
        return run.log_artifact(artifact).wait(timeout=self.address.transfer_seconds)

    def download(self, artifact: Any, folder: Path) -> None:
        """All files of a version, below a folder."""
        files = list(artifact.files(per_page=200))
        with progress(f"download {artifact.version}", sum(file.size for file in files), "B", scaled=True) as bar:
            for file in files:
                for written in self._download_file(file.direct_url, self._place(folder, file.name)):
                    bar.update(written)

    def _download_file(self, url: str, path: Path) -> Iterator[int]:
        import requests

        path.parent.mkdir(parents=True, exist_ok=True)
        with requests.get(url, stream=True, timeout=self.address.timeout_seconds) as response, path.open("wb") as file:
            response.raise_for_status()
            for chunk in response.iter_content(_CHUNK_BYTES):
                yield file.write(chunk)

    def _place(self, folder: Path, name: str) -> Path:
        place = (folder / name).resolve()
        if not place.is_relative_to(folder.resolve()):
            raise RegistryDamaged(
                "a version's file would land outside its folder", where=self.address.where, fix="see who uploaded it"
            )
        return place

    def _exists(self, kind: str, name: str) -> bool:
        """Whether there is such a collection; False is proven."""
        if (kind, name) not in self._known and self._listed(kind, name):
            self._known.add((kind, name))
        return (kind, name) in self._known

    def _listed(self, kind: str, name: str) -> bool:
        entity, project = self.address.entity, self.address.project
        api = self._connect()  # a new one, since it remembers the projects that it saw
        if project not in {each.name for each in api.projects(entity)}:
            self._prove_membership()
            return False
        if kind not in {each.name for each in api.artifact_types(f"{entity}/{project}")}:
            return False
        return name in {each.name for each in api.artifact_collections(f"{entity}/{project}", kind)}

    def _prove_membership(self) -> None:
        viewer = self.api.viewer
        if self.address.entity not in (viewer.entity, *viewer.teams):
            raise RegistryUnavailable(
                f"the key's account does not belong to {self.address.entity}, so what is there is unknown",
                where=self.address.where,
                fix="correct the entity in SINCERE_REGISTRY, or use a key of that team",
            )

    def _path(self, name: str) -> str:
        return f"{self.address.entity}/{self.address.project}/{name}"

    def _run_settings(self, folder: str) -> Any:
        import wandb

        return wandb.Settings(
            mode="online",
            reinit="create_new",  # a run of the step's own, if there is one, goes on
            root_dir=folder,
            silent=True,
            console="off",
            init_timeout=self.address.timeout_seconds,
            finish_timeout=self.address.timeout_seconds,
            finish_timeout_raises=True,
            disable_git=True,
            disable_code=True,
            program="python -m ml",
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )


def is_refusal(error: Exception) -> bool:
    """Whether one of the client's errors says that the account may not do it."""
    return _status(error) == _FORBIDDEN or "permission" in str(error).lower()


def _reason(error: Exception) -> str:
    status = _status(error)
    return f"HTTP status {status}" if status else f"none in time, or one that cannot be read ({type(error).__name__})"


def _status(error: Exception) -> int:
    """The HTTP status behind one of the client's errors; 0 if there is none."""
    for each in (error, getattr(error, "exc", None), error.__cause__):
        response = getattr(each, "response", None)
        status = getattr(response, "http_status", 0) or getattr(response, "status_code", 0)
        if status:
            return int(status)
    return 0
