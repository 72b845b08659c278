"""The operations that the client sends, each a function of the state and the request's variables, `input` among them.

An answer has every field that the client may ask for; it picks what it asked for.
"""

import base64
import json
from typing import Any
from urllib.parse import quote

from tests.wandb_server.state import (
    ENTITY,
    ORGANIZATION,
    ORGANIZATION_ENTITY,
    Artifact,
    Collection,
    Place,
    Refused,
    Run,
    State,
    encoded,
)

Variables = dict[str, Any]
Answer = dict[str, Any]

_TIME = "2026-01-04T00:00:00Z"
_WRITABLE = (ENTITY, ORGANIZATION_ENTITY)


# Who asks, and what the server can do


def viewer(state: State, variables: Variables) -> Answer:
    return {
        "viewer": {
            "id": encoded("User", 1),
            "entity": ENTITY,
            "username": ENTITY,
            "name": ENTITY,
            "email": "somebody@example.com",
            "admin": False,
            "flags": "{}",
            "deletedAt": None,
            "teams": {"edges": [{"node": {"name": ENTITY}}]},
            "apiKeys": {"edges": []},
        }
    }


def server_features(state: State, variables: Variables) -> Answer:
    return {"serverInfo": {"features": []}}


def organization(state: State, variables: Variables) -> Answer:
    organization = {
        "name": ORGANIZATION,
        "orgEntity": {"name": ORGANIZATION_ENTITY},
        "coreWeaveOrganizationId": None,
    }
    return {"entity": {"organization": organization, "user": None, "xxhashDigestsEnabled": False}}


def project(state: State, variables: Variables) -> Answer:
    entity, name = variables["entity"], variables.get("name") or variables.get("project")
    if not state.has_project(entity, name):
        return {"project": None}
    return {"project": {**_project(Place(entity, name, "")), "readOnly": entity not in _WRITABLE}}


def project_of_report(state: State, variables: Variables) -> Answer:
    return project(state, {"entity": variables["entityName"], "name": variables["projectName"]})


def projects(state: State, variables: Variables) -> Answer:
    names = {place[:2] for place in (*state.runs, *state.collections) if place.entity == variables["entity"]}
    return {"models": _connection([_project(Place(*name, "")) for name in sorted(names)])}


# Runs

_RUN_FIELDS = {
    "display_name": "displayName",
    "group": "groupName",
    "job_type": "jobType",
    "notes": "notes",
    "host": "host",
    "program": "program",
    "tags": "tags",
}


def upsert_run(state: State, variables: Variables) -> Answer:
    run, inserted = _run(state, variables)
    run.display_name = run.display_name or run.place.name
    for field, name in _RUN_FIELDS.items():
        setattr(run, field, variables.get(name) or getattr(run, field))
    if variables.get("config"):
        run.config = json.loads(variables["config"])
    return {"upsertBucket": {"bucket": _run_answer(run), "inserted": inserted}}


def _run(state: State, variables: Variables) -> tuple[Run, bool]:
    for run in state.runs.values():
        if run.id == variables.get("id"):
            return run, False
    place = Place(variables.get("entity") or ENTITY, variables.get("project") or "uncategorized", variables["name"])
    if place.entity not in _WRITABLE:
        raise Refused("permission denied")
    inserted = place not in state.runs
    return state.runs.setdefault(place, Run(place, number=len(state.runs))), inserted


def run_resume_status(state: State, variables: Variables) -> Answer:
    entity, name = variables.get("entity") or ENTITY, variables["project"]
    run = state.runs.get(Place(entity, name, variables["name"]))
    return {"model": {**_project(Place(entity, name, "")), "bucket": _run_answer(run) if run else None}}


def run_state(state: State, variables: Variables) -> Answer:
    run = state.runs.get(Place(variables["entity"], variables["project"], variables.get("name") or variables["run"]))
    return {"project": {"run": _run_answer(run)} if run else None}


def create_run_files(state: State, variables: Variables) -> Answer:
    run = state.runs[Place(variables["entity"], variables["project"], variables["run"])]
    where = "/".join(map(quote, run.place))
    files = [{"name": name, "uploadUrl": f"{state.url}/run/{where}/{quote(name)}"} for name in variables["files"]]
    return {"createRunFiles": {"runID": run.id, "uploadHeaders": [], "files": files}}


def run_inputs(state: State, variables: Variables) -> Answer:
    return _run_artifacts(state, variables, "used")


def run_outputs(state: State, variables: Variables) -> Answer:
    return _run_artifacts(state, variables, "logged")


def _run_artifacts(state: State, variables: Variables, kind: str) -> Answer:
    run = state.runs[Place(variables["entity"], variables["project"], variables["run"])]
    artifacts = [state.artifacts[id_] for id_ in getattr(run, kind)]
    listed = [_artifact(state, artifact) for artifact in artifacts if artifact.state == "COMMITTED"]
    return {"project": {"run": {"artifacts": _connection(listed)}}}


def _run_answer(run: Run) -> Answer:
    history, events = run.streams.get("wandb-history.jsonl", {}), run.streams.get("wandb-events.jsonl", {})
    return {
        "__typename": "Run",
        "id": run.id,
        "name": run.place.name,
        "projectId": "1",
        "displayName": run.display_name,
        "description": None,
        "notes": run.notes,
        "tags": run.tags,
        "group": run.group,
        "jobType": run.job_type,
        "state": "running" if run.exit_code is None else "failed" if run.exit_code else "finished",
        "stopped": False,
        "commit": None,
        "readOnly": False,
        "createdAt": _TIME,
        "heartbeatAt": _TIME,
        "user": {"name": ENTITY, "username": ENTITY},
        "sweepName": None,
        "config": json.dumps(run.config),
        "wandbConfig": json.dumps(run.config.get("_wandb", {}).get("value", {})),
        "summaryMetrics": json.dumps(run.summary),
        "systemMetrics": "{}",
        "historyLineCount": len(history),
        "eventsLineCount": len(events),
        "logLineCount": len(run.streams.get("output.log", {})),
        "historyTail": json.dumps([history[max(history)]] if history else []),
        "eventsTail": json.dumps([events[max(events)]] if events else []),
        "historyKeys": None,
        "project": _project(run.place),
    }


# Artifacts, on their way in


def create_artifact(state: State, variables: Variables) -> Answer:
    entity = variables["entityName"]
    if entity not in _WRITABLE:
        raise Refused("permission denied")
    sent = Artifact(
        id=encoded("Artifact", len(state.artifacts) + 1),
        place=Place(entity, variables["projectName"], variables["artifactCollectionName"]),
        type=variables["artifactTypeName"],
        digest=variables["digest"],
        run=variables.get("runName") or "",
        metadata=variables.get("metadata") or "{}",
        description=variables.get("description") or "",
        aliases=[alias["alias"] for alias in variables.get("aliases") or []],
        ttl_seconds=variables.get("ttlDurationSeconds") or -1,
    )
    artifact = state.create(sent, deduplicate=bool(variables.get("enableDigestDeduplication")))
    state.clients[variables["clientID"]] = artifact.id
    if sent.run:
        state.runs[Place(entity, sent.place.project, sent.run)].logged.append(artifact.id)
    answer = {"id": artifact.id, "state": artifact.state, "artifactSequence": {"latestArtifact": None}}
    return {"createArtifact": {"artifact": answer}}


def create_artifact_manifest(state: State, variables: Variables) -> Answer:
    artifact_id = variables["artifactID"]
    file = {"id": encoded("File", artifact_id), "uploadHeaders": []}
    file["uploadUrl"] = f"{state.url}/manifest/{quote(artifact_id)}" if variables.get("includeUpload") else None
    return {"createArtifactManifest": {"artifactManifest": {"id": encoded("Manifest", artifact_id), "file": file}}}


def create_artifact_files(state: State, variables: Variables) -> Answer:
    files = [_file_to_upload(state, file) for file in variables["artifactFiles"]]
    return {"createArtifactFiles": {"files": _edges(files)}}


def _file_to_upload(state: State, file: dict[str, str]) -> Answer:
    md5 = base64.b64decode(file["md5"]).hex()
    return {
        "storagePath": f"blob/{md5}",
        "uploadUrl": None if md5 in state.blobs else f"{state.url}/blob/{md5}",
        "uploadHeaders": [],
        "uploadMultipartUrls": None,
        "artifact": {"id": file["artifactID"]},
    }


def commit_artifact(state: State, variables: Variables) -> Answer:
    artifact = state.artifacts[variables["artifactID"]]
    state.commit(artifact)
    return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}


# Artifacts, looked up


def artifact_type_of(state: State, variables: Variables) -> Answer:
    collection = state.collections.get(_named(variables))
    return {"project": {"artifact": {"artifactType": {"name": collection.type}} if collection else None}}


def artifact_types(state: State, variables: Variables) -> Answer:
    entity, name = variables["entity"], variables["project"]
    if not state.has_project(entity, name):
        return {"project": None}
    types = sorted({collection.type for collection in _collections(state, entity, name)})
    return {"project": {"artifactTypes": _connection([_artifact_type(type_) for type_ in types])}}


def artifact_type(state: State, variables: Variables) -> Answer:
    """One type, with a collection of it, or all, and its versions."""
    entity, name, type_ = variables["entity"], variables["project"], variables["type"]
    if not state.has_project(entity, name):
        return {"project": None}
    collections = [each for each in _collections(state, entity, name) if each.type == type_]
    if not collections:
        return {"project": {"artifactType": None}}
    wanted = variables.get("collection") or variables.get("name")
    found = next((each for each in collections if each.place.name == wanted), None)
    answer = {
        **_artifact_type(type_),
        "artifactCollections": _connection([_collection(each) for each in collections]),
        "artifactCollection": {**_collection(found), "artifacts": _versions(state, found, variables)}
        if found
        else None,
    }
    return {"project": {"artifactType": answer}}


def collection_aliases(state: State, variables: Variables) -> Answer:
    found = next(each for each in state.collections.values() if _collection_id(each) == variables["id"])
    aliases = [_alias(alias, found) for alias in sorted(found.aliases)]
    return {"artifactCollection": {"__typename": "ArtifactSequence", "aliases": _connection(aliases)}}


def membership_by_name(state: State, variables: Variables) -> Answer:
    if not state.has_project(variables["entity"], variables["project"]):
        return {"project": None}
    place, version = _named(variables), variables["name"].partition(":")[2] or "latest"
    found = state.find(place, version)
    membership = _membership(state, found, state.collections[place]) if found else None
    return {"project": {"artifactCollectionMembership": membership}}


def artifact_by_id(state: State, variables: Variables) -> Answer:
    found = state.artifacts.get(variables["id"])
    return {"artifact": _artifact(state, found) if found else None}


def manifest(state: State, variables: Variables) -> Answer:
    artifact_id = variables.get("id") or variables["artifact_id"]
    return {"artifact": {"currentManifest": _manifest(state, state.artifacts[artifact_id])}}


def file_urls(state: State, variables: Variables) -> Answer:
    place = Place(variables["entity"], variables["project"], variables["collection"])
    found = state.find(place, variables["alias"])
    files = [_file(state, path, md5) for path, md5 in found.files.items()] if found else []
    names = variables.get("fileNames")
    wanted = [file for file in files if not names or file["name"] in names]
    answer = {"__typename": "ArtifactSequence", "artifactMembership": {"files": _connection(wanted)} if found else None}
    return {"project": {"artifactCollection": answer}}


# Artifacts, used, changed, linked


def use_artifact(state: State, variables: Variables) -> Answer:
    run = state.runs[Place(variables["entityName"], variables["projectName"], variables["runName"])]
    run.used.append(variables["artifactID"])
    return {"useArtifact": {"artifact": {"id": variables["artifactID"]}}}


def add_aliases(state: State, variables: Variables) -> Answer:
    artifact = state.artifacts[variables["artifactID"]]
    for place, alias in _asked_aliases(variables):
        state.move(place, alias, artifact)
    return {"result": {"success": True}}


def delete_aliases(state: State, variables: Variables) -> Answer:
    artifact = state.artifacts[variables["artifactID"]]
    for place, alias in _asked_aliases(variables):
        state.remove(place, alias, artifact)
    return {"result": {"success": True}}


def _asked_aliases(variables: Variables) -> list[tuple[Place, str]]:
    return [
        (Place(asked["entityName"], asked["projectName"], asked["artifactCollectionName"]), asked["alias"])
        for asked in variables["aliases"]
    ]


def update_artifact(state: State, variables: Variables) -> Answer:
    artifact = state.artifacts[variables["artifactID"]]
    artifact.metadata = variables.get("metadata") or artifact.metadata
    artifact.description = variables.get("description") or artifact.description
    artifact.ttl_seconds = variables.get("ttlDurationSeconds") or artifact.ttl_seconds  # -1: as the collection
    return {"result": {"artifact": _artifact(state, artifact)}}


def link_artifact(state: State, variables: Variables) -> Answer:
    artifact = state.artifacts[_artifact_id(state, variables)]
    place = Place(variables["entityName"], variables["projectName"], variables["artifactPortfolioName"])
    portfolio = state.link(artifact, place, [alias["alias"] for alias in variables.get("aliases") or []])
    index = portfolio.versions.index(artifact.id)
    return {"result": {"versionIndex": index, "artifactMembership": _membership(state, artifact, portfolio)}}


def _artifact_id(state: State, variables: Variables) -> str:
    """The server's own id; the client's core names an artifact of its run by an id of its own."""
    own = variables.get("artifactID") or variables.get("artifactId")
    return own or state.clients[variables.get("clientID") or variables["clientId"]]


# Reports


def upsert_view(state: State, variables: Variables) -> Answer:
    view = {
        "id": variables.get("id") or encoded("View", len(state.reports) + 1),
        "type": variables["type"],
        "name": variables["name"],
        "displayName": variables["displayName"],
        "description": variables["description"],
        "project": {"id": "1", "name": variables["projectName"], "entityName": variables["entityName"]},
        "spec": variables["spec"],
        "updatedAt": None,
    }
    state.reports[view["id"]] = view
    return {"upsertView": {"view": view, "inserted": not variables.get("id")}}


def project_views(state: State, variables: Variables) -> Answer:
    """A page of the project's reports."""
    entity, name = variables["entity"], variables["project"]
    if not state.has_project(entity, name):
        return {"project": None}
    reports = [view for view in state.reports.values() if view["project"]["entityName"] == entity]
    listed = [{**view, "user": None, "createdAt": _TIME} for view in reports if view["project"]["name"] == name]
    return {"project": {"allViews": _connection(listed)}}


# What answers are made of


def _named(variables: Variables) -> Place:
    return Place(variables["entity"], variables["project"], variables["name"].partition(":")[0])


def _collections(state: State, entity: str, name: str) -> list[Collection]:
    return [collection for place, collection in state.collections.items() if place[:2] == (entity, name)]


def _project(place: Place) -> Answer:
    return {
        "__typename": "Project",
        "id": encoded("Project", place.entity, place.project),
        "internalId": encoded("ProjectInternalId", place.entity, place.project),
        "name": place.project,
        "entityName": place.entity,
        "entity": {"__typename": "Entity", "id": encoded("Entity", place.entity), "name": place.entity},
        "createdAt": _TIME,
        "isBenchmark": False,
        "user": None,
        "description": None,
        "access": "PRIVATE",
        "views": "{}",
    }


def _artifact_type(name: str) -> Answer:
    return {
        "__typename": "ArtifactType",
        "id": encoded("ArtifactType", name),
        "name": name,
        "createdAt": _TIME,
        "description": None,
    }


def _collection_id(collection: Collection) -> str:
    return encoded("ArtifactCollection", *collection.place)


def _collection(collection: Collection) -> Answer:
    return {
        "__typename": "ArtifactPortfolio" if collection.portfolio else "ArtifactSequence",
        "id": _collection_id(collection),
        "name": collection.place.name,
        "description": None,
        "createdAt": _TIME,
        "updatedAt": None,
        "project": _project(collection.place),
        "type": {"name": collection.type},
        "tags": {"edges": []},
    }


def _versions(state: State, collection: Collection, variables: Variables) -> Answer:
    """A page of versions, the newest first, as the real server does by default."""
    artifacts = state.listed(collection)[::-1]
    start = int(variables.get("cursor") or 0)
    end = start + (variables.get("perPage") or 50)
    edges = [
        {"version": f"v{collection.versions.index(artifact.id)}", "node": _artifact(state, artifact)}
        for artifact in artifacts[start:end]
    ]
    page = {"__typename": "PageInfo", "hasNextPage": end < len(artifacts), "endCursor": str(end)}
    return {"totalCount": len(artifacts), "pageInfo": page, "edges": edges}


def _artifact(state: State, artifact: Artifact) -> Answer:
    home = state.collections.get(artifact.place) or Collection(artifact.place, artifact.type)
    number = home.versions.index(artifact.id) if artifact.id in home.versions else None
    return {
        "__typename": "Artifact",
        "id": artifact.id,
        "artifactSequence": _collection(home),
        "versionIndex": number,
        "artifactType": _artifact_type(artifact.type),
        "description": artifact.description,
        "metadata": artifact.metadata,
        "ttlDurationSeconds": artifact.ttl_seconds,
        "ttlIsInherited": artifact.ttl_seconds == -1,
        "tags": [],
        "historyStep": None,
        "state": artifact.state,
        "size": artifact.size,
        "digest": artifact.digest,
        "digestAlgorithm": None,
        "commitHash": artifact.id,
        "fileCount": len(artifact.files),
        "createdAt": _TIME,
        "updatedAt": None,
        "aliases": _aliases(artifact, home),
        "currentManifest": _manifest(state, artifact),
    }


def _aliases(artifact: Artifact, collection: Collection) -> list[Answer]:
    own = [alias for alias, id_ in collection.aliases.items() if id_ == artifact.id]
    if artifact.id in collection.versions:
        own.append(f"v{collection.versions.index(artifact.id)}")
    return [_alias(alias, collection) for alias in own]


def _alias(alias: str, collection: Collection) -> Answer:
    return {
        "__typename": "ArtifactAlias",
        "id": encoded("ArtifactAlias", *collection.place, alias),
        "alias": alias,
        "artifactCollection": _collection(collection),
    }


def _membership(state: State, artifact: Artifact, collection: Collection) -> Answer:
    return {
        "__typename": "ArtifactCollectionMembership",
        "id": encoded("ArtifactCollectionMembership", *collection.place, artifact.id),
        "createdAt": _TIME,
        "versionIndex": collection.versions.index(artifact.id),
        "aliases": _aliases(artifact, collection),
        "artifactCollection": _collection(collection),
        "artifact": _artifact(state, artifact),
    }


def _manifest(state: State, artifact: Artifact) -> Answer:
    url = f"{state.url}/manifest/{quote(artifact.id)}"
    return {"id": encoded("Manifest", artifact.id), "file": {"directUrl": url}}


def _file(state: State, path: str, md5: str) -> Answer:
    return {
        "__typename": "File",
        "id": encoded("File", md5),
        "name": path,
        "url": f"{state.url}/blob/{md5}",
        "directUrl": f"{state.url}/blob/{md5}",
        "sizeBytes": len(state.blobs[md5]),
        "storagePath": f"blob/{md5}",
        "mimetype": None,
        "updatedAt": None,
        "digest": None,
        "md5": base64.b64encode(bytes.fromhex(md5)).decode(),
    }


def _edges(nodes: list[Answer]) -> Answer:
    return {"edges": [{"node": node} for node in nodes]}


def _connection(nodes: list[Answer]) -> Answer:
    page = {"__typename": "PageInfo", "hasNextPage": False, "endCursor": None}
    return {"totalCount": len(nodes), "pageInfo": page, **_edges(nodes)}


OPERATIONS = {
    "Viewer": viewer,
    "GetViewer": viewer,
    "GetDefaultEntity": viewer,
    "ServerFeaturesQuery": server_features,
    "OrganizationCoreWeaveOrganizationID": organization,
    "FetchOrgInfoFromEntity": organization,
    "GetProjects": projects,
    "UpsertBucket": upsert_run,
    "RunResumeStatus": run_resume_status,
    "Run": run_state,
    "RunState": run_state,
    "RunStoppedStatus": run_state,
    "QueryRunInfo": run_state,
    "CreateRunFiles": create_run_files,
    "RunInputArtifacts": run_inputs,
    "RunOutputArtifacts": run_outputs,
    "CreateArtifact": create_artifact,
    "CreateArtifactManifest": create_artifact_manifest,
    "CreateArtifactFiles": create_artifact_files,
    "CommitArtifact": commit_artifact,
    "ArtifactType": artifact_type_of,
    "ProjectArtifactTypes": artifact_types,
    "ArtifactTypeArtifactCollections": artifact_type,
    "ProjectArtifactCollection": artifact_type,
    "ProjectArtifacts": artifact_type,
    "ArtifactCollectionAliases": collection_aliases,
    "ArtifactMembershipByName": membership_by_name,
    "ArtifactByID": artifact_by_id,
    "FetchArtifactManifest": manifest,
    "GetArtifactMembershipFileUrls": file_urls,
    "ArtifactMembershipFiles": file_urls,
    "UseArtifact": use_artifact,
    "AddAliases": add_aliases,
    "DeleteAliases": delete_aliases,
    "UpdateArtifact": update_artifact,
    "LinkArtifact": link_artifact,
    "ProjectInternalId": project_of_report,
    "upsertView": upsert_view,
    "ProjectViews": project_views,
}
