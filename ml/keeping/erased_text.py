"""Put into words what was erased, what was not reached, and what is left to do."""

from collections.abc import Iterator

from ml.keeping.erase import Erased

_LEFT = """\
The weights of models are as they were: train again, and the next champion has never seen these rows.
Not reached: the source itself, backups, scored rows outside of the home, and Weights & Biases. Where
tracking.upload_rows was set, delete the versions of the artifacts `questions` and `splits` there, and runs that wait in
wandb/ in the home.
Another model has a home of its own."""
_ELSEWHERE = """\
The object store has them no more. Other homes with it may: run the same command there, or remove those homes; let a
rule of the bucket remove earlier versions of objects."""


def erased_text(erased: Erased, *, shared: bool) -> str:
    """Say it in lines, for a home whose store is `shared` or not; no line has an id or a text."""
    return "\n".join([*_lines(erased), *([_ELSEWHERE] if shared else [])])


def _lines(erased: Erased) -> Iterator[str]:
    places = ", ".join(f"{place} {number:,}" for place, number in erased.places.items())
    yield f"erased by {erased.ids:,} ids: {places}"
    for number in erased.unknown:
        yield f"line {number}: no row has this id; a later file that has it is read without it"
    if erased.same_text:
        yield f"{erased.same_text:,} other ids bear or bore the same texts{_done(erased)}"
    for run_id in erased.unfinished:
        yield f"run {run_id} has not ended, and may have read the rows: erase them again when it has"
    yield from (f"recorded: store/erasures/{each}" for each in erased.recorded)
    yield _LEFT


def _done(erased: Erased) -> str:
    return ", and went too" if erased.with_same_text else ": --same-text erases them too"
