"""Periodic boxes: the six numbers, lengths and angles, of the forms in which files have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = NDArray[np.float64]
"""Shape (6,): three lengths in the unit of the file, three angles in degrees; zeros if there is no volume."""


def box_of_vectors(vectors: NDArray[Any]) -> Box:
    """Return the box that three vectors, shape (3, 3), span."""
    rows = vectors.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    if not np.isfinite(rows).all() or not (lengths > 0).all():
        return np.zeros(6)
    unit = rows / lengths[:, np.newaxis]
    cosines = np.array([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]])
    return np.concatenate([lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))])


def box_of_dcd(cell: NDArray[np.float64]) -> Box:
    """Return the box that the six numbers of a unit cell in a DCD file say, in each of the three ways.

    A, gamma, B, beta, alpha and C, with cosines (CHARMM, later NAMD) or degrees (NAMD 2.5) as angles; or the
    lower triangle of a symmetric matrix (CHARMM from version 36 on). As MDAnalysis tells them apart.
    """
    box = cell[[0, 2, 5, 4, 3, 1]]
    if (np.abs(box[3:]) <= 1).all():
        box[3:] = 90.0 - np.degrees(np.arcsin(box[3:]))
    elif (box < 0).any() or (box[3:] > 180).any():
        xx, xy, yy, xz, yz, zz = cell
        return box_of_vectors(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
    return box
