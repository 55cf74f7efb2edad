"""The JSON of OpenFF Evaluator: its types, read and written."""
