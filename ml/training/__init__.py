"""How is the model fine-tuned? Batches, optimizer, epochs, checkpoints, and the machine they run on."""
