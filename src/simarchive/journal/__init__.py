"""The journal floor."""
