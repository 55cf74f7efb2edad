"""Trajectories where they lie: frames of members as arrays, for MDAnalysis and for mdtraj.

Nothing is written to a disk. `frames` needs numpy alone, but for XTC; `mdanalysis` and `mdtraj` are the one
home of these libraries.
"""
