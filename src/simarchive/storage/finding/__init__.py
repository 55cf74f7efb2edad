"""How objects are found: by keys as people type them, by queries, and by what differs between stores."""
