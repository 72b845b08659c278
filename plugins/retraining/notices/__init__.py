"""Who is told what of a run: by which event, over which connection, and when it is late."""
