"""`HDF5Storage`, and what it is composed of."""
