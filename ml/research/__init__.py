"""How good is the gate itself? Simulations answer this; no run of the pipeline needs them."""
