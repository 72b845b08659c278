"""What a user might take instead: Hugging Face's Trainer, PyTorch and ONNX Runtime, beside this project."""
