"""Where files are extracted to."""
