"""A step is killed at any point, or its disk is full, and run again: it ends as an undisturbed run does."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ml.champion.promote import promote
from ml.config import Config, EncoderConfig
from ml.fingerprint import inputs_of
from ml.records import RawSnapshot, to_json
from ml.registry import CHAMPION_ALIAS
from ml.source.sample import write_sample
from tests.doomed import NEVER, PROJECT, Death, doomed_processes, mounts_are_allowed
from tests.judge.examples import compare_next, judged, open_run, probed
from tests.tiny import write_tiny_config

TAKES = {
    "snapshot": (),
    "validate": ("snapshot",),
    "split": ("snapshot", "validate"),
    "train": ("split",),
    "evaluate": ("split", "train"),
    "probe": ("evaluate",),
    "decide": ("evaluate", "probe"),
}
# Times, the digests of what has them, and the identifiers that Great Expectations draws for the parts of its pages.
CHANCE = re.compile(
    rb"20\d\d-?\d\d-?\d\d[T ]\d\d:?\d\d:?\d\d(\.\d+)?( UTC|Z|\+00:00)|1\d{9}\.\d+"
    rb"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    rb'|"(history|seal|line)":"[0-9a-f]{64}"'
    rb'|"peak_memory_bytes":\d+,"record":"StepCosts".*"written_bytes":\d+'
)

EMPTY = "an empty folder"
CHECKPOINT = re.compile("store/checkpoints/[0-9a-f]{64}/[0-9]+/state")  # from which the training goes on
VERDICT = re.compile("reports/[^/]*/(verdict.txt|page/RunOutcome.json)")
PAGE = 4096


def state(home):
    """Return the sha256 of every file below a home by name, and the empty folders; ignore times, costs, random ids."""
    found = {}
    for path in home.rglob("*"):
        name = CHANCE.sub(b"*", path.relative_to(home).as_posix().encode()).decode()
        if path.is_file():
            found[name] = lasting_digest(path.read_bytes())
        elif not any(path.iterdir()):
            found[name] = EMPTY
    return found


@cache
def lasting_digest(content):
    """Return the sha256 of a file's content without what is chance; most files of a home are in many homes."""
    return hashlib.sha256(CHANCE.sub(b"*", content)).hexdigest()


def half_written(home, before, after):
    """Return files under final names that are neither those of before nor those of after, nor whole.

    Scores are kept whole until their evaluation ends, so that one that is cut off goes on.
    """
    final = {name: content for name, content in state(home).items() if not re.search(r"/staging|\.part|lock$", name)}
    unknown = [name for name, content in final.items() if content not in (before.get(name), after.get(name), EMPTY)]
    return [name for name in unknown if not any(is_whole(home / name) for is_whole in (is_json, is_array, is_shard))]


def pages(home):
    """Return how many pages of a disk a home takes."""
    return sum(1 + path.lstat().st_size // PAGE for path in home.rglob("*"))


def is_shard(path):
    """Tell whether the token ids of some rows are as many as their row splits say."""
    row_splits = path.with_name("row_splits.npy")
    return path.name == "ids" and is_array(row_splits) and path.stat().st_size == 4 * np.load(row_splits)[-1]


def is_array(path):
    try:
        return np.load(path, allow_pickle=False).ndim == 1
    except ValueError:
        return False


def is_json(path):
    try:
        return isinstance(json.loads(path.read_text()), dict)
    except ValueError:
        return False


class Pipeline:
    """A run on generated rows: for each step it has the home before and after the step, and the step's changes.

    The step `train`, which takes longest, is killed right before it stores the model, and then run again.
    """

    def __init__(self, place, processes):
        self._place, self._processes = place, processes
        self._config = write_tiny_config(place)
        write_sample(place / "rows.csv", rows=1500, seed=1)
        self.home = place / "home"
        self.home.mkdir()
        self.before, self.after, self.changes, self.untouched, self.pages = {}, {}, {}, {}, {}
        for step in TAKES:
            self.untouched[step] = shutil.copytree(self.home, self._place / f"untouched-{step}")
            if step == "train":
                self.killed_training = self.run(step, self.home, Death(what="os.rename store/models"))
                self.half_trained = state(self.home)
            self._run_undisturbed(step)

    def run(self, step, home, death=NEVER):
        """Run a step on a home, and write its record into the home."""
        return self._processes.run(home, self._command(step, home), death)

    def run_on_full_disk(self, step, home, spare):
        return self._processes.run_on_full_disk(home, self._command(step, home), spare)

    def _command(self, step, home):
        settings = ["--config", str(self._config), "--source", str(self._place / "rows.csv"), "--run-id", "run-1"]
        inputs = [f"--input={home / record}.json" for record in TAKES[step]]
        return [step, *settings, *inputs, f"--output={home / step}.json"]

    def _run_undisturbed(self, step):
        self.before[step] = shutil.copytree(self.home, self._place / f"before-{step}")
        ended = self.run(step, self.home)
        assert ended.status == 0, step
        self.after[step], self.changes[step] = state(self.home), ended.changes
        self.pages[step] = pages(self.home) - pages(self.untouched[step])


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    data = ("ml.source.snapshot", "ml.data.validate", "ml.data.split")
    gate = (
        "ml.judge.evaluate",
        "ml.judge.decide",
        "ml.report.evaluation_page",
        "ml.judge.statistics",
        "ml.serve.probe",
    )
    with doomed_processes(*data, "ml.training.train", *gate, preloaded=True) as processes:
        yield Pipeline(tmp_path_factory.mktemp("pipeline"), processes)


@pytest.mark.parametrize("step", ["snapshot", "validate", "split", "evaluate", "decide"])
def test_a_step_killed_amid_its_changes_and_behind_the_last_ends_the_same_when_run_again(pipeline, tmp_path, step):
    home = shutil.copytree(pipeline.before[step], tmp_path / "home")
    changes, after = pipeline.changes[step], pipeline.after[step]
    last = [change for change in changes if re.match(r"os\.rename (store|reports)/", change)][-1]

    for death in (Death(number=len(changes) // 2), Death(what=last, after=True)):
        assert pipeline.run(step, home, death).status == -signal.SIGKILL
        assert half_written(home, state(pipeline.before[step]), after) == []
    assert pipeline.run(step, home).status == 0
    assert state(home) == after


def test_a_training_killed_before_its_model_is_stored_gives_the_same_model_when_run_again(pipeline):
    trained, half = pipeline.after["train"], pipeline.half_trained
    (model,) = {name.split("/")[2] for name in trained if name.startswith("store/models/")}

    assert pipeline.killed_training.status == -signal.SIGKILL
    assert not any(name.startswith("store/models/") for name in half)
    assert {name.split("/")[2] for name in half if name.startswith("store/trainings/")} == {model}
    assert {name.split("/")[2] for name in trained if name.startswith("store/trainings/")} == {model}
    assert trained["store/staging"] == EMPTY


def test_a_probe_that_was_killed_leaves_nothing_and_serves_again(pipeline, tmp_path):
    home = shutil.copytree(pipeline.before["probe"], tmp_path / "home")

    assert pipeline.run("probe", home, Death(what="subprocess.Popen")).status == -signal.SIGKILL
    assert state(home) == state(pipeline.before["probe"])
    assert pipeline.run("probe", home).status == 0
    assert state(home).keys() == pipeline.after["probe"].keys()


@pytest.fixture(scope="module")
def processes():
    with doomed_processes("ml.judge.repeated_run", "ml.champion.promote", "ml.champion.rollback") as processes:
        yield processes


STAGED = re.compile("[0-9a-f]{32}")


def kill_everywhere(processes, before, command, folder, **options):
    """Run a command again on all that a SIGKILL before each of its changes and after each file it opens would leave.

    A command that has ended is run again too. Returns the changes.
    """
    undisturbed = shutil.copytree(before, folder / "undisturbed")
    ended = processes.run_and_copy(undisturbed, command, folder / "killed", **options)
    assert ended.status == 0
    start, end = state(before), state(undisturbed)
    assert processes.run(undisturbed, command, **options).status == 0
    assert state(undisturbed) == end
    killed = sorted((folder / "killed").iterdir())
    assert len(killed) == sum(1 + change.startswith("open") for change in ended.changes)
    for home in different(killed):
        assert half_written(home, start, end) == [], home
        assert processes.run(home, command, **options).status == 0, home
        assert state(home) == end, home
    return ended.changes


def different(homes):
    """Keep one of the homes that hold the same, as those before and after a lock is opened do."""
    return {
        frozenset((STAGED.sub("*", name), digest) for name, digest in state(home).items()): home for home in homes
    }.values()


def promoted(home, *contents, config=Config()):  # noqa: B008, it never changes
    """Promote models with these contents one after the other in a home, and return the home."""
    for content in contents:
        run = open_run(home, f"run-{content}")
        comparison = compare_next(run, content)
        decision = replace(judged(comparison), inputs=inputs_of(config, "1" * 64, comparison.champion))
        promote(config, run, comparison, decision, probed(comparison))
    return home


def write_records(folder, *records):
    """Write records to files, and return the options that give them to a step."""
    options = []
    for record in records:
        path = folder / f"{type(record).__name__}.json"
        path.write_text(to_json(record), encoding="utf-8")
        options.append(f"--input={path}")
    return options


@pytest.fixture
def unchanged(tmp_path, tiny_encoder):
    """A home with a champion, and the command that finds that nothing has changed since its run."""
    encoder = EncoderConfig(source=str(tiny_encoder), max_tokens=64)
    home = promoted(tmp_path / "before", "first", config=Config(encoder=encoder))
    snapshot = RawSnapshot(source="file:a.csv", sha256="1" * 64, rows=1, columns=(), bytes=1, quarantined_rows=0)
    settings = [f"--set=encoder.source={json.dumps(encoder.source)}", f"--set=encoder.max_tokens={encoder.max_tokens}"]
    return home, ["detect", "--run-id=run-2", *settings, *write_records(tmp_path, snapshot)]


def test_a_run_without_a_change_killed_anywhere_is_recorded_once(processes, tmp_path, unchanged):
    changes = kill_everywhere(processes, *unchanged, tmp_path)

    assert "open registry/history.jsonl" in changes


def test_a_promotion_killed_anywhere_is_carried_out_once(processes, tmp_path):
    home = promoted(tmp_path / "before", "first", "second")
    comparison = compare_next(open_run(home), "third")
    records = write_records(tmp_path, comparison, judged(comparison), probed(comparison))
    command = ["promote", "--run-id=run-third", "--set=retention.predecessors=1", *records]

    changes = kill_everywhere(processes, home, command, tmp_path)

    dropped = re.compile("os.rename registry/staging/[0-9a-f]{32}/artifact")  # the first's files, which are not kept
    assert any(map(dropped.fullmatch, changes))
    assert "os.rename reports/run-third/verdict.txt" in changes


def test_a_copy_amid_a_command_is_what_a_killed_one_leaves(processes, tmp_path):
    before = promoted(tmp_path / "before", "first", "second")
    command = ["rollback", "--run-id=back-1"]
    home = shutil.copytree(before, tmp_path / "undisturbed")
    changes = processes.run_and_copy(home, command, tmp_path / "copies", serve=False).changes
    deaths = [
        death
        for number, change in enumerate(changes, start=1)
        for death in [Death(number), Death(number, after=True)][: 1 + change.startswith("open")]
    ]
    copies = sorted((tmp_path / "copies").iterdir())

    for death, copy in list(zip(deaths, copies, strict=True))[::9]:
        home = shutil.copytree(before, tmp_path / copy.name)
        assert processes.run(home, command, death, serve=False).status == -signal.SIGKILL
        assert [*different([home, copy])] == [copy], death


def test_a_move_that_was_cut_off_is_recorded_by_the_next_and_its_own_retry_knows(processes, tmp_path):
    home = promoted(tmp_path / "home", "first")
    comparison = compare_next(open_run(home), "second")
    records = write_records(tmp_path, comparison, judged(comparison), probed(comparison))
    promote_second = ["promote", "--run-id=run-second", *records]
    go_back = ["rollback", "--run-id=back-1", "--reason=too many false alarms"]
    history = "open registry/history.jsonl"

    assert processes.run(home, promote_second, Death(what=history)).status == -signal.SIGKILL
    assert processes.run(home, go_back, Death(2, what=history), serve=False).status == -signal.SIGKILL
    promoted(home, "third")
    before = state(home)
    assert processes.run(home, promote_second).status == 0
    assert processes.run(home, go_back, serve=False).status == 0

    registry = open_run(home).registry
    moves = [(entry.run_id, entry.version) for entry in registry.history()]
    assert moves == [("run-first", "v1"), ("run-second", "v2"), ("back-1", "v1"), ("run-third", "v3")]
    assert registry.resolve(CHAMPION_ALIAS).version == "v3"
    changed = {name for name, content in state(home).items() if before.get(name) != content}
    assert not any(name.startswith("registry/") for name in changed)


def _is_open_at(descriptor, file):
    try:
        return descriptor.samefile(file)
    except FileNotFoundError:  # the process has closed it
        return False


def wait_for_the_lock(process, lock):
    """Wait until the process has opened a lock that another process holds."""
    deadline = time.monotonic() + 120
    while not any(_is_open_at(path, lock) for path in Path(f"/proc/{process.pid}/fd").iterdir()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def test_of_two_promotions_that_race_for_the_alias_one_wins_and_the_other_is_told(tmp_path):
    home = promoted(tmp_path / "home", "first")
    comparisons = {name: compare_next(open_run(home), name) for name in ("second", "third")}
    environment = {**os.environ, "SINCERE_HOME": str(home)}
    racers = {}
    with (home / "registry" / "champion.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, comparison in comparisons.items():
            folder = tmp_path / name
            folder.mkdir()
            records = write_records(folder, comparison, judged(comparison), probed(comparison))
            command = [sys.executable, "-m", "ml", "promote", f"--run-id=run-{name}", *records]
            racers[name] = subprocess.Popen(
                command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        for racer in racers.values():
            wait_for_the_lock(racer, home / "registry" / "champion.lock")
    told = {name: racer.communicate(timeout=120)[1] for name, racer in racers.items()}

    (winner,), (loser,) = ([name for name in racers if racers[name].returncode == status] for status in (0, 65))
    registry = open_run(home).registry
    assert "the alias production points at v" in told[loser]
    assert registry.resolve(CHAMPION_ALIAS).model == comparisons[winner].candidate.model
    assert [entry.run_id for entry in registry.history()] == ["run-first", f"run-{winner}"]
    assert {registry.fetch(version).is_dir() for version in ("v1", "v2", "v3")} == {True}


def test_a_rollback_killed_anywhere_goes_back_once(processes, tmp_path):
    home = promoted(tmp_path / "before", "first", "second")
    command = ["rollback", "--run-id=back-1", "--reason=too many false alarms"]

    changes = kill_everywhere(processes, home, command, tmp_path, serve=False)

    assert "open registry/history.jsonl" in changes


needs_mounts = pytest.mark.skipif(not mounts_are_allowed(), reason="the kernel gives no mounts to this user")


def full_disks(run_on_full_disk, before, folder, *, needed, after, tries):
    """Run a command with less room on the disk than it needs, more each time; yield each home, and how it ended.

    There is one clear error without a traceback, worth a retry, and nothing is half written.
    """
    start, told = state(before), 0
    for part in range(tries):
        home = shutil.copytree(before, folder / "home")
        ended = run_on_full_disk(home, PAGE * (needed * part // tries))
        if ended.status:
            told += 1
            assert ended.status == 75, ended.said
            assert "Traceback" not in ended.said
            assert len(re.findall("^error: ", ended.said, re.MULTILINE)) == 1, ended.said
            assert re.search(r"No space left on device(.*\n)+  what to do: ", ended.said), ended.said
        left = half_written(home, start, after)
        assert [name for name in left if not (tells_of_the_disk(home / name) or CHECKPOINT.match(name))] == [], part
        yield home
        shutil.rmtree(home)
    assert told


def tells_of_the_disk(path):
    """Say whether a file is the whole verdict of a step that failed."""
    return path.name == "verdict.txt" and "No space left on device" in path.read_text()


def lasting(files):
    """Leave out what no two runs have alike: speed and costs, in records and what a page is told of them."""
    chance = {"train.json", "probe.json", "TrainedModel.json", "Probe.json"}
    return {name: content for name, content in files.items() if Path(name).name not in chance}


@needs_mounts
@pytest.mark.parametrize("step", TAKES)
def test_a_step_whose_disk_is_full_says_so_and_ends_right_when_there_is_room(pipeline, tmp_path, step):
    def run(home, spare):
        return pipeline.run_on_full_disk(step, home, spare)

    before, after = pipeline.untouched[step], pipeline.after[step]
    tries = 2 if step in {"train", "evaluate", "probe"} else 4
    for home in full_disks(run, before, tmp_path, needed=pipeline.pages[step], after=after, tries=tries):
        assert pipeline.run(step, home).status == 0
        files = lasting(state(home))
        if not any(map(VERDICT.fullmatch, after)):
            files = {name: content for name, content in files.items() if not VERDICT.fullmatch(name)}
        assert files.keys() == lasting(after).keys()
        assert files == lasting(after) or step == "train"


def ends_right_on_full_disks(processes, before, command, folder, **options):
    undisturbed = shutil.copytree(before, folder / "undisturbed")
    assert processes.run(undisturbed, command, **options).status == 0
    needed, end = pages(undisturbed) - pages(before), state(undisturbed)

    def run(home, spare):
        return processes.run_on_full_disk(home, command, spare, **options)

    for home in full_disks(run, before, folder, needed=needed, after=end, tries=6):
        assert processes.run(home, command, **options).status == 0
        assert state(home) == end


@needs_mounts
def test_a_promotion_whose_disk_is_full_is_carried_out_later_once(processes, tmp_path):
    home = promoted(tmp_path / "before", "first", "second")
    comparison = compare_next(open_run(home), "third")
    records = write_records(tmp_path, comparison, judged(comparison), probed(comparison))

    ends_right_on_full_disks(processes, home, ["promote", "--run-id=run-third", *records], tmp_path)


@needs_mounts
def test_a_rollback_whose_disk_is_full_is_made_later_once(processes, tmp_path):
    home = promoted(tmp_path / "before", "first", "second")

    ends_right_on_full_disks(processes, home, ["rollback", "--run-id=back-1"], tmp_path, serve=False)


@needs_mounts
def test_a_run_without_a_change_whose_disk_is_full_is_recorded_later_once(processes, tmp_path, unchanged):
    ends_right_on_full_disks(processes, *unchanged, tmp_path)
