"""Where do the rows come from? One URI becomes one CSV in the store, byte for byte and parsed."""
