"""Containers that are read over a network, by ranges of bytes: addresses, requests, and the map.

- `address`: how a container elsewhere is named
- `source`, `object_store`, `file_object`: what answers ranges of one object's bytes
- `fetching`: many ranges in few requests, at once, within bounds
- `map_format`: what a published container has behind its seal
- `far_file`: bytes of the HDF5 part, from the map where it has them
- `folders`, `bucket`: folders here and in object stores, where names are given once
- `journal`: what a container is read through, in place of the journal of a local file
"""
