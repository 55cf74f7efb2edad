"""The names of units: how a text of them is read and written, and which names every registry is to know.

A container has one vocabulary of units, whatever registry of pint wrote it. `texts` reads and writes products
of names, `vocabulary` holds the names, `registries` translates between the vocabulary and a registry.
"""
