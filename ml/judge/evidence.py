"""Gather the evidence: how sure the candidate's differences from the champion are, on all test rows and on slices.

A difference is the candidate's figure minus the champion's figure, on the same rows.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ml.config import PolicyConfig
from ml.config.slices import parse_slice
from ml.judge.row_scores import read_scores, read_texts
from ml.judge.statistics import BoolArray, Pair, interval, label_differences, mcnemar_p, ranking_differences
from ml.records import Comparison, Evidence, NoChampion, NoEvidence, Past, Probe, RareSlice, Slice
from ml.store import Store


def gather_evidence(
    store: Store, comparison: Comparison, policy: PolicyConfig, probe: Probe, past: Past
) -> Evidence | NoEvidence:
    """Compute the evidence that a policy asks for from the stored scores of a comparison.

    Equal inputs give equal evidence. Raises LineageError if the comparison is not in the store.
    """
    scores = read_scores(store, comparison)
    if isinstance(comparison.rival, NoChampion):
        return NoEvidence()
    candidate, champion = (scores.by_model[role] for role in ("candidate", "champion"))
    pair = Pair(
        target=scores.target,
        candidate_scores=candidate,
        champion_scores=champion,
        candidate_labels=candidate >= comparison.candidate.threshold,
        champion_labels=champion >= comparison.rival.evaluation.threshold,
    )
    return weigh(pair, slice_members(read_texts(store, comparison), policy), policy, probe, past)


def weigh(pair: Pair, members: Mapping[str, BoolArray], policy: PolicyConfig, probe: Probe, past: Past) -> Evidence:
    """Compute all evidence on two models; `members` tells for each slice which rows are in it, boolean [rows].

    A figure is left out if one of its resampled differences is not a finite number.
    """
    random = np.random.default_rng(policy.seed)
    label_right = [labels == (pair.target == 1) for labels in (pair.candidate_labels, pair.champion_labels)]
    candidate_alone, champion_alone = (int(np.sum(a & ~b)) for a, b in (label_right, label_right[::-1]))
    differences = label_differences(
        pair.target, pair.candidate_labels, pair.champion_labels, resamples=policy.resamples, random=random
    ) | ranking_differences(
        pair.target, pair.candidate_scores, pair.champion_scores, resamples=policy.resamples, random=random
    )
    measured = {figure: each for figure, each in differences.items() if np.isfinite(each[1]).all()}
    return Evidence(
        confidence=policy.confidence,
        resamples=policy.resamples,
        figures={figure: interval(*each, policy.confidence) for figure, each in measured.items()},
        slices={name: _slice(pair, rows, policy, random) for name, rows in members.items()},
        candidate_alone_right=candidate_alone,
        champion_alone_right=champion_alone,
        mcnemar_p=mcnemar_p(candidate_alone, champion_alone),
        probe=probe,
        past=past,
    )


def slice_members(texts: Sequence[str], policy: PolicyConfig) -> dict[str, BoolArray]:
    """Tell for each slice which texts are in it, boolean [texts]."""
    members = {}
    for name, expression in policy.all_slices.items():
        predicate = parse_slice(name, expression)
        members[name] = np.fromiter((predicate(text) for text in texts), np.bool_, len(texts))
    return members


def _slice(pair: Pair, rows: BoolArray, policy: PolicyConfig, random: np.random.Generator) -> Slice | RareSlice:
    target = pair.target[rows]
    positives = int(target.sum())
    if positives < policy.min_slice_positives:
        return RareSlice(rows=len(target), positives=positives)
    differences = label_differences(
        target, pair.candidate_labels[rows], pair.champion_labels[rows], resamples=policy.resamples, random=random
    )
    return Slice(rows=len(target), positives=positives, f1=interval(*differences["f1"], policy.confidence))
