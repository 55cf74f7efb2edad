"""Simulation data in one HDF5 file."""
