"""What a command line selects: one grammar for all commands, ``FILE [WHAT...]``.

Each word of WHAT is one of these:

criterion
    ``T=298.15K``, ``phase=liquid,gas``, ``atoms>10000``: all criteria together are one expression, as
    `simarchive query` takes it, whether they are one word or several.
key
    Whole, or the start of one that no other key shares.
pattern
    ``run7-*``: all keys that match, with ``*``, ``?`` and ``[...]`` as in a shell.
``-``
    Keys from standard input, one at the start of each line; or lines of JSON, as ``--ndjson`` prints them.

An object is selected if one of the keys, patterns and lines names it, and if it fulfils all criteria. Where
there are only keys, or only criteria, the others ask for nothing. Criteria are answered by the index.
"""

from simarchive.cli.selection.arguments import file_and_what, what_argument
from simarchive.cli.selection.words import Selection, choose, is_criterion, is_several, stored_order

__all__ = [
    "Selection",
    "choose",
    "file_and_what",
    "is_criterion",
    "is_several",
    "stored_order",
    "what_argument",
]
