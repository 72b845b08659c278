"""Is the candidate better, and how sure is that? Evaluation, evidence, policy, decision, replay."""
