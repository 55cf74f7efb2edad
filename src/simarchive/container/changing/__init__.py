"""Changes to what is stored: one object amended, with its history, or the whole container made compact."""
