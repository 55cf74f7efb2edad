"""`python -m simarchive`: the same as the command `simarchive`."""

from simarchive.cli import main

if __name__ == "__main__":
    main()
