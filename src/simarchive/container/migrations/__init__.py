"""The migrations floor."""
