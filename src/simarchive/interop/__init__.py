"""The interop floor."""
