import base64
import json
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import wandb
import wandb_workspaces.reports.v2 as wr

from tests.wandb_server import KEY, WandbServer, serving
from tests.wandb_server.state import ENTITY, ORGANIZATION_ENTITY, Place

MODEL = f"{ENTITY}/quora/model"


def start_run(**how):
    return wandb.init(entity=ENTITY, project="quora", **how)


def write_files(folder, content):
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model" / "weights").write_text(content, encoding="utf-8")
    (folder / "model.json").write_text("{}", encoding="utf-8")
    return folder


def upload(run, folder, *, aliases=(), **metadata):
    artifact = wandb.Artifact("model", type="model", metadata=metadata)
    artifact.add_dir(str(folder))
    return run.log_artifact(artifact, aliases=list(aliases)).wait()


def test_a_run_leaves_its_settings_history_summary_and_end(wandb_server):
    with start_run(id="one", group="week-1", job_type="train", tags=["local"], config={"epochs": 2}) as run:
        run.log({"loss": 0.5})
        run.log({"loss": 0.25})
        run.summary["best epoch"] = 1

    run = wandb_server.state.run("one")
    assert (run.group, run.job_type, run.tags, run.settings) == ("week-1", "train", ["local"], {"epochs": 2})
    assert [row["loss"] for row in run.history] == [0.5, 0.25]
    assert run.summary["best epoch"] == 1
    assert run.exit_code == 0
    assert wandb_server.unknown == []


def test_a_resumed_run_goes_on_where_it_ended(wandb_server):
    for loss in (0.5, 0.25):
        with start_run(id="one", resume="allow") as run:
            run.log({"loss": loss})

    assert [(row["_step"], row["loss"]) for row in wandb_server.state.run("one").history] == [(0, 0.5), (1, 0.25)]


def test_versions_aliases_and_lineage_are_kept(wandb_server, tmp_path):
    first, second = write_files(tmp_path / "first", "first"), write_files(tmp_path / "second", "second")
    with start_run(id="train") as run:
        assert upload(run, first, aliases=["candidate"], model="one").version == "v0"
        assert upload(run, second, aliases=["candidate"], model="two").version == "v1"
        assert upload(run, first, model="again").version == "v0"
    with start_run(id="use") as run:
        downloaded = run.use_artifact("model:candidate").download(root=str(tmp_path / "downloaded"))

    state = wandb_server.state
    assert (tmp_path / "downloaded" / "saved_model" / "weights").read_text() == "second"
    assert downloaded == str(tmp_path / "downloaded")
    assert state.version("model", "candidate") is state.version("model", "v1")
    assert [artifact.facts for artifact in state.listed(state.collection("model"))] == [
        {"model": "one"},
        {"model": "two"},
    ]
    assert state.run("use").used == [state.version("model", "v1").id]
    assert set(state.run("train").logged) == set(state.collection("model").versions)
    assert wandb_server.unknown == []


def test_an_alias_moves_in_one_step_and_links_carry_their_own(wandb_server, tmp_path):
    with start_run() as run:
        upload(run, write_files(tmp_path / "first", "first"), aliases=["production"])
        second = upload(run, write_files(tmp_path / "second", "second"))
        second.aliases.append("production")
        second.save()
        second.link("wandb-registry-model/quora", aliases=["production"])

    place = Place(ENTITY, "quora", "model")
    linked = Place(ORGANIZATION_ENTITY, "wandb-registry-model", "quora")
    moves = [move for move in wandb_server.state.moves if move[1] == "production"]
    assert moves == [(place, "production", "v0"), (place, "production", "v1"), (linked, "production", "v0")]
    assert wandb.Api().artifact(f"{MODEL}:production").version == "v1"
    assert wandb_server.unknown == []


def test_a_protected_alias_is_refused(wandb_server, tmp_path):
    wandb_server.state.protected.add(("quora", "production"))
    with start_run() as run:
        first = upload(run, write_files(tmp_path / "first", "first"))
        first.aliases.append("production")
        with pytest.raises(wandb.errors.CommError, match="permission denied"):
            first.save()

    assert set(wandb_server.state.collection("model").aliases) == {"latest"}


def test_what_is_asked_for_without_the_key_is_refused():
    with serving() as server:
        assert post(server, "Viewer", key="wrong") == 401
        assert post(server, "Viewer") == 200


@pytest.mark.parametrize("status", [401, 403, 404, 409, 429, 500])
def test_a_request_fails_as_often_as_it_was_told_to(status):
    with serving() as server:
        server.fail("Viewer", status=status, times=1)

        assert [post(server, name) for name in ("ServerFeaturesQuery", "Viewer", "Viewer")] == [200, status, 200]


def test_all_requests_fail_until_the_server_is_mended():
    with serving() as server:
        server.fail(status=500)
        assert [post(server, "Viewer"), post(server, "ServerFeaturesQuery")] == [500, 500]

        server.mend()
        assert post(server, "Viewer") == 200


def test_an_answer_comes_as_late_as_it_was_told_to():
    with serving() as server:
        server.fail("Viewer", delay_seconds=0.5)
        asked = time.monotonic()

        assert post(server, "Viewer") == 200
        assert time.monotonic() - asked >= 0.5


def test_only_what_is_whole_is_listed_with_the_run_that_logged_it(wandb_server, tmp_path):
    with start_run(id="one") as run:
        upload(run, write_files(tmp_path / "first", "first"))
        wandb_server.fail("CommitArtifact", status=403)
        with pytest.raises(ValueError, match="told to fail"):
            upload(run, write_files(tmp_path / "second", "second"))

    logged = wandb.Api().run(f"{ENTITY}/quora/one").logged_artifacts()
    assert [artifact.name for artifact in logged] == ["model:v0"]


def test_reports_are_listed_by_project(wandb_server):
    for project in ("quora", "another"):
        with wandb.init(entity=ENTITY, project=project):
            wr.Report(entity=ENTITY, project=project, title=f"Report of {project}").save()

    assert [report.display_name for report in wandb.Api().reports(f"{ENTITY}/quora")] == ["Report of quora"]


def test_an_unknown_operation_is_an_error_that_the_test_can_see():
    with serving() as server:
        assert post(server, "Nonsense") == 200
        assert server.unknown == ["Nonsense"]


def test_an_upload_that_is_cut_off_leaves_nothing():
    with serving() as server:
        server.fail("upload", cut=True, times=1)
        content, md5 = b"a" * 1000, "cabe45dcc9ae5b66ba86600cca6b8ba8"

        with pytest.raises(ConnectionError):
            put(server, f"blob/{md5}", content)
        assert server.state.blobs == {}

        put(server, f"blob/{md5}", content)
        assert server.state.blobs == {md5: content}


def test_bytes_that_are_not_of_the_announced_digest_are_refused():
    with serving() as server, pytest.raises(HTTPError, match="400"):
        put(server, "blob/cabe45dcc9ae5b66ba86600cca6b8ba8", b"other")


def test_something_can_happen_right_before_a_request():
    with serving() as server:
        seen = []
        server.before("Viewer", lambda state: seen.append(len(state.runs)))

        post(server, "Viewer")
        post(server, "Viewer")

        assert seen == [0]


def post(server: WandbServer, operation: str, *, key: str = KEY) -> int:
    """The status that a query gets."""
    credentials = base64.b64encode(f"api:{key}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}"}
    body = json.dumps({"query": f"query {operation} {{ x }}"}).encode()
    try:
        with urlopen(Request(f"{server.url}/graphql", body, headers)) as response:
            return response.status
    except HTTPError as error:
        with error:
            return error.code


def put(server: WandbServer, path: str, content: bytes) -> None:
    with urlopen(Request(f"{server.url}/{path}", content, method="PUT")):
        pass
