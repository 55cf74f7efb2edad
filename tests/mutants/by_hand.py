"""Changes made by hand: rules that a reader would not miss at once, each left out or moved by one."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

from changes import Change
from noticing import SOURCE

# Module: the lines as they are, and as they are changed to. Indentation is that of the first line.
CHANGES: dict[str, list[tuple[str, str]]] = {
    "journal/journal.py": [
        ("self._tail_unsynced |= old.wrote_bulk", "pass"),
        ("self._tail_unsynced |= not is_last_writer", "pass"),
        ("if file.wrote_bulk or (self._tail_unsynced and file.end > file.bound):", "if file.wrote_bulk:"),
        ("self._owes_sync = not log.synced", "pass"),
        ("log.forget_attempt()", "pass"),
        ("if self._view.relation is LogRelation.COPIED:", "if False:"),
    ],
    "journal/view.py": [
        (
            "container.write(seal.to_bytes(), self.head.end)\ncontainer.sync()",
            "container.write(seal.to_bytes(), self.head.end)",
        ),
        ("sync_name(pair.container.files, pair.log_path)", "pass"),
        ("return log.synced or not log.is_empty", "return True"),
        (
            "touched = is_last_writer and self._left_as != (status.st_size, status.st_mtime_ns)",
            "touched = False",
        ),
    ],
    "journal/recovery.py": [
        (
            "marked = is_guarded(head.superblock) or not is_intact(head.superblock)",
            "marked = is_guarded(head.superblock)",
        ),
        ("_check_nothing_is_pending(container, head, header.ticket)", "pass"),
    ],
    "journal/pager.py": [
        (
            "if isinstance(image, bytearray) and (page < last or page in self._spilled):",
            "if isinstance(image, bytearray) and page < last:",
        ),
        (
            "if size >= self.BULK_BYTES and high > low and self._is_unspilled(low, high):",
            "if size >= self.BULK_BYTES and high > low:",
        ),
        (
            "for page in (0, *(seal if self.end > self._sealed_from else ())):",
            "for page in (0,):",
        ),
    ],
    "journal/log.py": [
        (
            "self.high_water = max(self.high_water, frame.head.end, logged_end)",
            "self.high_water = max(self.high_water, frame.head.end)",
        ),
        ("self.file.write(data, chain.position)\nself.file.sync()", "self.file.write(data, chain.position)"),
        ("if need > _SCAN_BYTES and tail.position + need > self.file.status().st_size:", "if False:"),
    ],
    "journal/checkpoint.py": [
        ("if not log.synced:\n    log.sync()", "pass"),
        ("if not is_intact(superblock):", "if False:"),
        ("container.write(guard, 0)\ncontainer.sync()", "container.write(guard, 0)"),
    ],
    "container/members/table.py": [
        ("if n_chunks and int(stored_sizes.max()) > 2 * chunk_bytes + 4096:", "if False:"),
        ("if stored > room:", "if False:"),
        ("if chunk_bytes > MAX_CHUNK_BYTES or len(crcs) != n_chunks:", "if len(crcs) != n_chunks:"),
    ],
    "container/members/writing.py": [
        (
            "return not any(chunk[:16]) and not np.frombuffer(chunk, np.uint8).any()",
            "return not any(chunk[:16]) and not np.frombuffer(chunk, np.uint8)[:-1].any()",
        ),
        ("if stored.digest != table.digest:", "if False:"),
        ("opened.check_unchanged()", "pass"),
    ],
    "container/members/shared.py": [
        ("if is_equal and self.is_intact(dataset):", "if self.is_intact(dataset):"),
    ],
    "container/members/extraction.py": [
        (
            "with whole_file(destination, overwrite=overwrite, sync=sync) as fd:",
            "with whole_file(destination, overwrite=overwrite) as fd:",
        ),
        ("if hasher.hexdigest() != table.digest:", "if False:"),
    ],
    "container/container.py": [
        ("self._distrusted.clear()\njournal.roll_back()", "journal.roll_back()"),
    ],
    "container/index/tail.py": [
        ("return self._bytes + _HEADER_ROOM <= self._text.size", "return self._bytes <= self._text.size"),
        ("if not 0 <= value < self._vocabularies[column.name].stored:", "if False:"),
        (
            "if not isinstance(key, str) or not 0 <= int(sequence) < self.next_sequence:",
            "if not isinstance(key, str):",
        ),
    ],
    "container/index/vocabulary.py": [
        (
            "return len(distinct) == len(texts) == self.stored and texts.words_fit()",
            "return texts.words_fit()",
        ),
        (
            "return len(distinct) == len(texts) == self.stored and texts.words_fit()",
            "return len(distinct) == len(texts) == self.stored",
        ),
    ],
    "codecs/trajectory.py": [
        ("if places[-1] >= n_words:", "if places[-1] > n_words:"),
        (
            "if not known or n_exceptions > n_words or not 0 < atom < frame:",
            "if not known or n_exceptions > n_words:",
        ),
    ],
    "ground/filesystem.py": [
        ("if sync:\n    os.fsync(fd)", "pass"),
        ("if sync:\n    sync_directory(destination.parent)", "pass"),
    ],
    "storage/merging.py": [
        ("elif value is not None and not isinstance(value, str) and old in value:", "elif False:"),
        (
            "with locked(source.lock, target.lock), target.transaction(), SharedFiles() as shared:",
            "with locked(source.lock, target.lock), SharedFiles() as shared:",
        ),
    ],
    "storage/hdf5/answers.py": [
        (
            "rows += ((key, None) for key in table.select(conditions, limit=limit))",
            "rows += ((key, None) for key in table.select(conditions, limit=1))",
        ),
        (
            "return [key for key, _ in arranged(data_query, rows, lambda row, _: row[1])]",
            "return [key for key, _ in rows]",
        ),
    ],
    "chemistry/observables.py": [
        ("and same_quantity(self.error, other.error)\n", ""),
    ],
    "cli/streams.py": [
        (
            "text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)",
            "text = json.dumps(value, indent=indent, ensure_ascii=False)",
        ),
    ],
}


def changes_by_hand(root: Path) -> list[Change]:
    """Return all of them; a SystemExit names one that no longer fits the code."""
    found = []
    for module, pairs in CHANGES.items():
        path = SOURCE + module
        source = (root / path).read_text()
        for before, after in pairs:
            found.append(_change(path, source, before, after))
    return found


def _change(path: str, source: str, before: str, after: str) -> Change:
    first = before.split("\n")[0]
    for line in source.splitlines():
        spaces = line[: len(line) - len(line.lstrip())]
        wanted = indent(before, spaces)
        if line == spaces + first and source.count("\n" + wanted) == 1:
            changed = source.replace("\n" + wanted, "\n" + indent(after, spaces))
            return Change(
                path, source[: source.index("\n" + wanted)].count("\n") + 2, "by hand", source, changed
            )
    raise SystemExit(f"the change by hand of {path} no longer fits the code: it should have, once,\n{before}")
