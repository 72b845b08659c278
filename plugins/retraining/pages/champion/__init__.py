"""Pages about the champion: what the registry says of it, and of all decisions."""
