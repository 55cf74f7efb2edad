"""The door for MDAnalysis: once this is imported, it opens files of a container by their addresses.

    import MDAnalysis
    import simarchive.interop.mdanalysis

    universe = MDAnalysis.Universe("water.h5::8d13/output.pdb", "water.h5::8d13/trajectory.dcd")

An address is the path of a container, two colons, a key or a start of one, a slash and the name of a file.
Trajectories in DCD, XTC, TRR and AMBER NetCDF are read where they lie; topologies and other files, such as
PDB, GRO, PSF, PRMTOP and TPR, are read whole. Nothing is written to a disk.
"""

from simarchive.storage.trajectories.mdanalysis import MemberReader, MemberTopologyParser

__all__ = ["MemberReader", "MemberTopologyParser"]
