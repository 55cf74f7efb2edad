"""The chemistry floor."""
