"""The classifier: a pretrained BERT encoder with a head of one unit, its training, its export and its use."""
