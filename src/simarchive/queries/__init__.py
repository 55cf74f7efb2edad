"""The queries floor."""
