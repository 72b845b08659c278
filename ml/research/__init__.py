"""How good is the gate itself? Simulations that no run of the pipeline needs."""
