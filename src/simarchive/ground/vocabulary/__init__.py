"""Names that files and people use, as plain data: data classes with their columns, and criteria of queries.

What only lists, counts or finds keys needs no more of a data class than this, so that it is done without the
class: its fields, units and checks take longer to load than the answer.
"""
