"""A container made anew: what is live is copied, and a map is put behind it for readers elsewhere."""

from simarchive.container.compaction.copying import copy_objects

__all__ = ["copy_objects"]
