"""Tables as early versions wrote them, without checks: what is wrong in them only sense can tell."""

from __future__ import annotations

import json

import h5py
import numpy as np


def forget_checks(table: h5py.Group) -> None:
    """Remove every check of a table, and leave all else as it is."""
    for child in table.values():
        del child.attrs["_checks"]
    for name in ("table", "tail"):
        text = bytes(table.attrs[name])
        if name == "table":
            description = json.loads(text)
            del description["check"]
            changed = json.dumps(description).encode()
        else:
            header, line, rest = text.partition(b"\n")
            changed = json.dumps(json.loads(header)[:2]).encode() + line + rest
        size = table.attrs.get_id(name).dtype.itemsize
        table.attrs.modify(name, np.array(changed.ljust(size, b"\0"), f"S{size}"))
    fields = table.attrs["segments"].reshape(-1, 5)
    fields[fields[:, 1] == 0] = 0
    table.attrs.modify("segments", fields.reshape(-1))
