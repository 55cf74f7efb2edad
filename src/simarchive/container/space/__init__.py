"""The room that objects take: kept for what was removed, as long as it is not needed, and given back."""
