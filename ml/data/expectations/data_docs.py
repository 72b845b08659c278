"""Write Data Docs: whole or not at all, readable without the internet, with an index that leads to the result."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from ml.data.expectations.library import view
from ml.store.files import rename_whole


@contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """Give a new folder, which is moved to `place` at the end: `place` is complete, or it does not exist."""
    beside = place.with_name(f"{place.name}.part")
    for earlier in (beside, place):
        shutil.rmtree(earlier, ignore_errors=True)
    yield beside
    rename_whole(beside, place)


def make_readable_offline(docs: Path) -> None:
    """Add our own styles to the pages, which load theirs from the internet, and an index that leads to the result.

    The index of Great Expectations stays empty without scripts from the internet.
    """
    style = f"<style>{Path(__file__).with_name('data_docs.css').read_text(encoding='utf-8')}</style>"
    for page in docs.rglob("*.html"):
        page.write_text(page.read_text(encoding="utf-8").replace("<head>", f"<head>{style}", 1), encoding="utf-8")
    (result,) = docs.glob("validations/**/*.html")
    address = result.relative_to(docs).as_posix()
    index = f'<!doctype html><meta http-equiv="refresh" content="0; url={address}"><a href="{address}">The result</a>\n'
    (docs / "index.html").write_text(index, encoding="utf-8")


class NoIndex:
    """Stands for the writer of the index of Data Docs, in whose place ours comes."""

    def __init__(self, **_: object) -> None:
        """Take what the writer would need."""

    def build(self, **_: object) -> tuple[None, None]:
        """Write nothing."""
        return None, None


class _Compiled(BytecodeCache):
    """Keeps what Jinja has compiled, for all environments of this process."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give the code of a template that has been compiled."""
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code of a template."""
        self._code[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


@contextmanager
def templates_compiled_once() -> Iterator[None]:
    """Let Great Expectations compile its templates once, not once for each kind of page and each run."""
    environment = view.Environment
    view.Environment = partial(environment, bytecode_cache=_COMPILED)
    try:
        yield
    finally:
        view.Environment = environment
