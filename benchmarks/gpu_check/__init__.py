"""Show what only a GPU can show: speed, equal scores, memory given back, replicas; see `__main__.py`."""
