"""State in an object store: objects by key, folders that are whole or absent, and turns that all hosts take."""
