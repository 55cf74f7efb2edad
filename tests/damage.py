"""Damage that tests do to files."""

from pathlib import Path


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Give one bit of a file its other value."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))
