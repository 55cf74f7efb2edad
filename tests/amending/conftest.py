"""The fixture of the tests of amended objects."""

from conftest_of_amending import stored, stored_once

__all__ = ["stored", "stored_once"]
