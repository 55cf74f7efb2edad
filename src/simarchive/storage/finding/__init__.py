"""How objects are found: by the keys that people type, and one match of a query after another."""
