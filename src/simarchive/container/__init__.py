"""The container floor."""
