"""The gate between a trained candidate and production: evaluate, decide, promote."""
