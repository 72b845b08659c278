"""What is the model, and how does it score? The classifier, its export, its threshold, and predictions."""
