"""From a URI to three parts of checked rows: pull, validate, split."""
