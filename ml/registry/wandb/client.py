"""A wrapper of W&B's client: each request gives an answer, or raises RegistryUnavailable, in bounded time.

The client raises the same error for "it does not exist" and "you may not read it". So this module proves absence: the
account belongs to the entity, and W&B has listed the projects, their types and collections without it. A project that
is hidden from this key is not listed either; but the key cannot write to it, so no model can become champion there.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ml.errors import ConfigError, RegistryDamaged, RegistryRefused, RegistryUnavailable, SincereError
from ml.registry.wandb.address import Address
from ml.registry.wandb.login import has_login, login_settings

_CHUNK_BYTES = 1 << 20
_FORBIDDEN = 403
_REFUSED = {401, _FORBIDDEN}


class Client:
    """One connection, opened by the first request; methods take and return objects of W&B's client."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._known: set[tuple[str, str]] = set()

    @cached_property
    def api(self) -> Any:
        """W&B's public API."""
        return self._connect()

    def _connect(self) -> Any:
        """Open a connection; raises ConfigError without a key, since W&B's client would ask for it on the terminal."""
        import wandb

        if not has_login(os.environ):
            raise ConfigError(
                "there is no key for W&B",
                where=self.address.where,
                fix="set WANDB_API_KEY or use `wandb login`; in Airflow, the password of the connection wandb_default",
            )
        if "WANDB_API_KEY" in os.environ:  # the client reads it too, and refuses a key with a line break at its end
            os.environ["WANDB_API_KEY"] = os.environ["WANDB_API_KEY"].strip()
        return wandb.Api(api_key=_key(), timeout=self.address.timeout_seconds)  # type: ignore[arg-type]

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn every error of the client into one of ours, without the text of that error.

        Raises RegistryRefused if the server does not accept the key, else RegistryUnavailable.
        """
        try:
            yield
        except SincereError:
            raise
        except Exception as error:  # each layer of the client has its own errors
            if _status(error) in _REFUSED or _is_unusable_key(error):
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
        """Turn a refusal by W&B into RegistryRefused, which names the missing right."""
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
        """Return all aliases in a collection, from one request; none if the collection is proven absent."""
        if not self._exists(kind, name):
            return ()
        aliases: Sequence[str] = self.api.artifact_collection(kind, self._path(name)).aliases
        return aliases

    def versions(self, kind: str, name: str) -> list[Any]:
        """Return all versions in a collection, oldest first; none if the collection is proven absent."""
        if not self._exists(kind, name):
            return []
        artifacts = {
            artifact.version: artifact for artifact in self.api.artifacts(kind, self._path(name), per_page=200)
        }
        return [artifacts[version] for version in sorted(artifacts, key=lambda version: int(version[1:]))]

    def artifact(self, name: str, version: str) -> Any:
        """Return one version by its number or by an alias."""
        return self.api.artifact(f"{self._path(name)}:{version}")

    @contextmanager
    def run(self, job_type: str, **how: str) -> Iterator[Any]:
        """Start a short run to write from, which uploads nothing about this machine; `how` goes to wandb.init."""
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
        """Upload an artifact, wait until W&B has committed it, and return it."""
        return run.log_artifact(artifact).wait(timeout=self.address.transfer_seconds)

    def download(self, artifact: Any, folder: Path) -> None:
        """Download all files of a version into a folder."""
        from ml.progress import progress  # where pages ask the registry, there is no tqdm

        files = list(artifact.files(per_page=200))
        with progress(f"download {artifact.version}", sum(file.size for file in files), "B", scaled=True) as bar:
            for file in files:
                for written in self._download_file(file.direct_url, self._place(folder, file.name)):
                    bar.update(written)

    def _download_file(self, url: str, path: Path) -> Iterator[int]:
        import requests

        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with requests.get(url, stream=True, timeout=self.address.timeout_seconds) as response:
                response.raise_for_status()
                with path.open("wb") as file:
                    for chunk in response.iter_content(_CHUNK_BYTES):
                        yield file.write(chunk)
        except requests.RequestException as error:  # 403 too: a signed address runs out, and the next one is new
            raise RegistryUnavailable(
                f"W&B did not give a file: {_reason(error)}", where=self.address.where, fix="try again later"
            ) from None

    def _place(self, folder: Path, name: str) -> Path:
        place = (folder / name).resolve()
        if not place.is_relative_to(folder.resolve()):
            raise RegistryDamaged(
                "a version's file would land outside its folder", where=self.address.where, fix="see who uploaded it"
            )
        return place

    def _exists(self, kind: str, name: str) -> bool:
        """Say whether a collection exists; False is proven."""
        if (kind, name) not in self._known and self._listed(kind, name):
            self._known.add((kind, name))
        return (kind, name) in self._known

    def _listed(self, kind: str, name: str) -> bool:
        entity, project = self.address.entity, self.address.project
        api = self._connect()  # a new one, since a connection caches the projects
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
            api_key=_key(),
            reinit="create_new",  # the step may have a run of its own, which goes on
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


def _key() -> str | None:
    """The key in the client's own form; None where it has another way to log in."""
    return login_settings(os.environ).get("WANDB_API_KEY")


def is_refusal(error: Exception) -> bool:
    """Say whether an error of the client means that the account does not have the permission."""
    return _status(error) == _FORBIDDEN or "permission" in str(error).lower()


def _is_unusable_key(error: Exception) -> bool:
    """Say whether the key is none that W&B could know; the client gives an outage the same type, with a cause."""
    return type(error).__name__ == "AuthenticationError" and error.__cause__ is None


def _reason(error: Exception) -> str:
    status = _status(error)
    return f"HTTP status {status}" if status else f"none in time, or one that cannot be read ({type(error).__name__})"


def _status(error: Exception) -> int:
    """Return the HTTP status of an error of the client; 0 if it has none."""
    for each in (error, getattr(error, "exc", None), error.__cause__):
        response = getattr(each, "response", None)
        status = getattr(response, "http_status", 0) or getattr(response, "status_code", 0)
        if status:
            return int(status)
    return 0
