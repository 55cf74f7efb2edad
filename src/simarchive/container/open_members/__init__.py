"""Members of an open container that are read while it changes: as a file, and chunk by chunk."""
