"""How objects, their values and whole stores are shown to people: in words, as tables, and in notebooks.

Nothing here imports chemistry at the top of a module that the command line imports, so that its help answers
at once.
"""
