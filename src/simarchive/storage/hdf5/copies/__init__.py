"""Other containers: objects that come from one, and volumes that a container is cut into."""
