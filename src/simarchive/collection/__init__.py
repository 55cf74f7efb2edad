"""Many containers as one store: written by many processes at once, read as one backend.

- `collection`: `Collection`, the facade, and how it is read
- `changes`: which shards and objects count
- `writing`: a shard on its way in
"""

from simarchive.collection.collection import Collection
from simarchive.collection.writing import ShardOutcome, ShardWriter

__all__ = ["Collection", "ShardOutcome", "ShardWriter"]
