"""Which tests should notice a change to which module."""

from __future__ import annotations

SOURCE = "src/simarchive/"

PACKAGES = ("journal", "container", "storage/hdf5", "queries")
"""Where a program makes changes; changes made by hand are elsewhere, too."""

# The first that a path begins with counts. Within each, what is quick and near goes first.
_TESTS = {
    "journal/creation": ("tests/journal/test_journal_creation.py", "tests/journal/test_journal_names.py"),
    "journal": (
        "tests/journal/test_journal_writers.py",
        "tests/journal/test_journal_log.py",
        "tests/journal/test_journal_names.py",
        "tests/journal/test_journal_pager.py",
    ),
    "codecs": ("tests/members/test_member_bounds.py", "tests/members/test_codecs.py"),
    "container/members": (
        "tests/members/test_member_bounds.py",
        "tests/members/test_shared_twins.py",
        "tests/members/test_extraction_disk.py",
        "tests/members/test_member_damage.py",
        "tests/members/test_member_reading.py",
        "tests/members/test_members.py",
        "tests/hostile/test_proofs.py",
    ),
    "container/index": ("tests/index", "tests/queries/test_index_care.py", "tests/queries/test_order.py"),
    "container/rescue": ("tests/storage/test_upkeep_rules.py", "tests/hostile/test_damaged_files.py"),
    "container/changing/compaction": (
        "tests/storage/test_upkeep_rules.py",
        "tests/queries/test_index_care.py",
    ),
    "container/objects": ("tests/storage/test_upkeep_rules.py", "tests/hostile/test_damaged_files.py"),
    "container": (
        "tests/storage/test_upkeep_rules.py",
        "tests/storage/test_nodes.py",
        "tests/members/test_shared_twins.py",
        "tests/storage/test_hdf5_backend.py",
        "tests/hostile/test_proofs.py",
        "tests/strangers/test_transactions.py",
        "tests/hostile/test_bounded_reading.py",
        "tests/queries/test_index_care.py",
    ),
    "storage/scratch": ("tests/members/test_scratch.py", "tests/members/test_scratch_trust.py"),
    "storage/hdf5/salvage": ("tests/storage/test_upkeep_rules.py", "tests/hostile/test_damaged_files.py"),
    "storage/hdf5/upkeep": ("tests/storage/test_upkeep_rules.py", "tests/queries/test_index_care.py"),
    "storage/hdf5/verification": ("tests/storage/test_upkeep_rules.py", "tests/storage/test_verification.py"),
    "storage/hdf5/answers": ("tests/queries/test_limits.py", "tests/queries/test_order.py", "tests/queries"),
    "storage/hdf5": (
        "tests/storage/test_upkeep_rules.py",
        "tests/queries/test_limits.py",
        "tests/queries/test_index_care.py",
        "tests/storage/test_hdf5_backend.py",
        "tests/storage/test_copying.py",
        "tests/queries/test_unknown_classes.py",
        "tests/hostile/test_proofs.py",
        "tests/members/test_members_of_objects.py",
    ),
    "storage": (
        "tests/storage/test_merging_rules.py",
        "tests/storage/test_merging.py",
        "tests/storage/test_memory_backend.py",
    ),
    "queries/expression": (
        "tests/meaning/test_query_expressions.py",
        "tests/hostile/test_text_expressions.py",
    ),
    "queries/literals": ("tests/meaning/test_query_expressions.py", "tests/hostile/test_text_expressions.py"),
    "queries": ("tests/meaning/test_queries.py", "tests/meaning/test_query_properties.py", "tests/queries"),
    "chemistry": ("tests/meaning/test_equality_of_observables.py", "tests/meaning/test_observables.py"),
    "ground": ("tests/members/test_extraction_disk.py", "tests/journal/test_journal_log.py"),
    "cli": ("tests/cli/test_strict_json.py", "tests/hostile/test_text_terminal.py"),
}


def tests_for(path: str) -> tuple[str, ...]:
    """Return the tests that should notice a change to the module at a path."""
    module = path.removeprefix(SOURCE)
    for beginning, tests in _TESTS.items():
        if module.startswith((beginning + "/", beginning + ".py")):
            return tests
    raise LookupError(f"no tests are named for {path}")


def package_of(path: str) -> str:
    """Return the package under which a module is counted."""
    module = path.removeprefix(SOURCE)
    found = [package for package in PACKAGES if module.startswith(package + "/")]
    return found[0] if found else module.partition("/")[0]
