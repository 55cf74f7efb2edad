"""What the headers of trajectory files say, and where their frames lie: DCD, XTC, TRR and AMBER NetCDF.

This is the one place that knows these formats, and nothing is decoded in it. Bytes come from a function that
gives so many of them from an offset, so that a file, a member of a container and the first bytes of a stream
are read alike. Whatever is wrong with a file is one of two things, and each reader acts on them:

========================= ==================== =============================================================
What is wrong             Here                 What becomes of it
========================= ==================== =============================================================
no header of the format   `LayoutError`        frames where they lie: an error that names the member;
                                               a run: a note, and its other files are read;
                                               counts for publishing: none;
                                               compression: that of files without frames
an end that is missing,   `Layout.missing`,    frames where they lie: a warning, and the whole frames;
or that is no frame       and the whole frames a run: a note, and the whole frames;
                                               counts for publishing: the whole frames
========================= ==================== =============================================================

To add a format, write a file with a function that gives its `Layout`, and name it in
:mod:`simarchive.codecs.trajectory_files.formats`.
"""
