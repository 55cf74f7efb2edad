"""Directories as OpenFF Evaluator writes them."""
