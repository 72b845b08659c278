"""Which pretrained BERT does training begin with? Read from a package, a folder or a hub, with its tokenizer."""
