"""What every floor stands on: the file system, keys, conditions, signals and the locks of threads."""
