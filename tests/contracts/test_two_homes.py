"""What names a run, a place or a host is in no digest of rows, splits, checkpoint, weights or model."""

import signal
import subprocess

import pytest

from ml.records import RawSnapshot, Splits, TrainedModel, digest, from_json
from ml.source.sample import write_sample
from tests.doomed import NEVER, Death, doomed_processes
from tests.tiny import write_tiny_config

TAKES = {"snapshot": (), "validate": ("snapshot",), "split": ("snapshot", "validate"), "train": ("split",)}
MODULES = ("ml.source.snapshot", "ml.data.validate", "ml.data.split", "ml.training.train")
BEFORE_IT_STORES_THE_MODEL = Death(what="os.rename store/models")


def trained_at(place, *, host, run_id, csv, encoder):
    """Train from that CSV and encoder, killed once on the way; return all digests by what they are of."""
    place.mkdir(parents=True)
    config = write_tiny_config(place)
    (place / "encoder").rename(place / encoder)
    config.write_text(config.read_text().replace(str(place / "encoder"), str(place / encoder)))
    write_sample(place / csv, rows=1500, seed=1)
    home = place / "home"

    def run(step, death=NEVER):
        command = [step, "--config", str(config), "--source", str(place / csv), "--run-id", run_id]
        inputs = [f"--input={place / record}.json" for record in TAKES[step]]
        return processes.run(home, [*command, *inputs, f"--output={place / step}.json"], death).status

    with doomed_processes(*MODULES, host=host, preloaded=True) as processes:
        assert [run(step) for step in ("snapshot", "validate", "split")] == [0, 0, 0]
        assert run("train", BEFORE_IT_STORES_THE_MODEL) == -signal.SIGKILL
        (checkpoint,) = [path.name for path in (home / "store" / "checkpoints").iterdir()]
        assert run("train") == 0
    records = ("snapshot", RawSnapshot), ("split", Splits), ("train", TrainedModel)
    snapshot, splits, trained = (from_json((place / f"{step}.json").read_text(), kind) for step, kind in records)
    return {
        "CSV": snapshot.sha256,
        "rows": [part.digest for part in splits.parts],
        "splits": [digest(splits), trained.splits],
        "checkpoint": checkpoint,
        "settings": trained.config,
        "weights": trained.weights,
        "model": trained.model,
    }


def test_two_runs_on_two_homes_of_two_hosts_give_the_same_digests_from_rows_to_model(tmp_path):
    if subprocess.run(["unshare", "--uts", "true"], check=False, capture_output=True).returncode:
        pytest.skip("the kernel gives no namespaces to this user")
    left, right = tmp_path / "left", tmp_path / "right" / "further"
    first = trained_at(left, host="left", run_id="run-1", csv="rows.csv", encoder="encoder")
    second = trained_at(right, host="right", run_id="manual__2", csv="Monday's export.csv", encoder="tiny BERT")
    assert first == second
