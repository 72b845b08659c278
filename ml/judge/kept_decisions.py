"""Store decisions, each with the policy, the evidence and the probe that it is based on, and read them again."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import cast

from ml.config import PolicyConfig
from ml.config.load import read_policy
from ml.records import Decision, Evidence, NoEvidence, Probe, digest, read_any, to_json
from ml.store import Store


def keep_decision(
    store: Store, decision: Decision, policy: PolicyConfig, evidence: Evidence | NoEvidence, probe: Probe
) -> None:
    """Store a decision with the policy, the evidence and the probe that it is based on, so that it can be replayed."""
    grounds: Mapping[str, Decision | Evidence | NoEvidence | Probe] = {
        "decision": decision,
        "evidence": evidence,
        "probe": probe,
    }
    with store.staging() as folder:
        for name, record in grounds.items():
            (folder / f"{name}.json").write_text(to_json(record), encoding="utf-8")
        (folder / "policy.json").write_text(json.dumps(asdict(policy), sort_keys=True), encoding="utf-8")
        store.commit(folder, "decisions", digest(decision))


def policy_of(store: Store, decision: Decision) -> PolicyConfig:
    """Read the policy that a decision is based on; raises LineageError if the decision is not in the store."""
    return read_policy(json.loads(_read(store, decision, "policy")))


def evidence_of(store: Store, decision: Decision) -> Evidence | NoEvidence:
    """Read the evidence that a decision is based on; raises LineageError if the decision is not in the store."""
    return cast(Evidence | NoEvidence, read_any(_read(store, decision, "evidence")))


def probe_of(store: Store, decision: Decision) -> Probe:
    """Read the probe that a decision is based on; raises LineageError if the decision is not in the store."""
    return cast(Probe, read_any(_read(store, decision, "probe")))


def _read(store: Store, decision: Decision, name: str) -> str:
    return (store.open("decisions", digest(decision)) / f"{name}.json").read_text(encoding="utf-8")
