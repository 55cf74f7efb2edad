"""What every floor stands on: errors of the system, keys, conditions, signals and locks."""
