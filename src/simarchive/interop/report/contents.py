"""The sections on what the container is and holds: overview, files by type, integrity."""

from __future__ import annotations

from simarchive.ground.texts import count_text, date_text, html_text, share_text, size_text
from simarchive.interop.report import marks
from simarchive.interop.report.gathering import Facts
from simarchive.interop.report.tables import table
from simarchive.storage.display import wording

_MOST_TYPES = 40
_MOST_PROBLEMS = 200


def title_of(facts: Facts) -> str:
    """Return the title of the archive, or the name of its file."""
    return next((text for name, text in facts.metadata if name == "title"), facts.name)


def overview(facts: Facts) -> str:
    """Return the numbers that come first, and what the archive says of itself."""
    statistics = facts.statistics
    cards = [
        ("objects", f"{statistics.n_objects:,}"),
        ("substances", f"{len({row.substance for row in facts.objects if row.substance}):,}"),
        ("files", f"{statistics.n_members:,}"),
        ("of data", size_text(statistics.logical_bytes)),
        ("on disk", size_text(statistics.file_bytes)),
    ]
    lines = [
        f'<div class="card"><dt>{html_text(name)}</dt><dd>{html_text(text)}</dd></div>'
        for name, text in cards
    ]
    own = [(name, text) for name, text in facts.metadata if name != "title"]
    described = [
        *own,
        ("file", facts.name),
        ("created", f"{date_text(statistics.created_at)} by {statistics.created_by}"),
        ("identifier", statistics.container_id),
        ("integrity", _state_of_integrity(facts)),
    ]
    facts_list = "".join(f"<dt>{html_text(name)}</dt><dd>{html_text(text)}</dd>" for name, text in described)
    return f'<dl class="cards">{"".join(lines)}</dl><dl class="facts">{facts_list}</dl>{_classes(facts)}'


def _classes(facts: Facts) -> str:
    classes = facts.statistics.objects_by_class
    if not classes:
        return ""
    most = max(classes.values())
    rows = [
        (html_text(wording.short_class_name(name)), f"{number:,}", marks.bar(number / most), html_text(name))
        for name, number in sorted(classes.items(), key=lambda pair: -pair[1])
    ]
    return table(("Class", "Objects", "", "Stored as"), rows, caption="Objects by class", right=("Objects",))


def sizes(facts: Facts) -> str:
    """Return the sizes of the files by type, and what they take in the container."""
    statistics = facts.statistics
    if not facts.by_extension:
        return "<p>No object here has files.</p>"
    most = max(group.logical_bytes for group in facts.by_extension) or 1
    rows = [
        (
            html_text(group.name or "no extension"),
            f"{group.n_files:,}",
            html_text(size_text(group.logical_bytes)),
            html_text(size_text(group.stored_bytes)),
            html_text(share_text(group.stored_bytes, group.logical_bytes)),
            marks.bar(group.logical_bytes / most),
        )
        for group in facts.by_extension[:_MOST_TYPES]
    ]
    listed = table(
        ("Type", "Files", "Original", "Stored", "Stored / original", ""),
        rows,
        caption="Files by type",
        right=("Files", "Original", "Stored", "Stored / original"),
    )
    share = share_text(statistics.stored_bytes, statistics.logical_bytes)
    text = (
        f"{count_text(statistics.n_members, 'file')} of {size_text(statistics.logical_bytes)} are stored in"
        f" {size_text(statistics.stored_bytes)}, {share} of the original."
    )
    if statistics.shared_bytes:
        text += f" Equal files are stored once, which saves {size_text(statistics.shared_bytes)}."
    text += " All come back byte for byte."
    return f"<p>{html_text(text)}</p>{listed}"


def _state_of_integrity(facts: Facts) -> str:
    checked = facts.verification
    if checked is None:
        state = "not checked for this report"
    elif checked.ok:
        state = "every stored byte was checked, and no error was found"
    else:
        errors = sum(problem.is_error for problem in checked.problems)
        state = f"damaged: {count_text(errors, 'error')} found"
    unreadable = len(facts.problems)
    return f"{state}; {count_text(unreadable, 'object')} not read in full" if unreadable else state


def integrity(facts: Facts) -> str:
    """Return what `verify` found, or that it was not asked; and what could not be read for the page."""
    checked = facts.verification
    parts = []
    if checked is None:
        parts.append(
            "<p><strong>Not checked.</strong> This page was made without checking the stored bytes. To check"
            " them, run <code>simarchive verify</code>, or make the report with <code>--verify</code>.</p>"
        )
    else:
        warnings = sum(not problem.is_error for problem in checked.problems)
        how = "each file was decoded and its digest compared" if checked.full else "its check sum"
        state = _state_of_integrity(facts)
        parts.append(
            f"<p><strong>{html_text(state[0].upper() + state[1:])}.</strong>"
            f" {html_text(count_text(checked.n_objects, 'object'))} and"
            f" {html_text(count_text(checked.n_members, 'file'))}"
            f" ({html_text(size_text(checked.n_bytes))}) were compared with what was written down when they"
            f" were stored: {html_text(how)}. {html_text(count_text(warnings, 'warning'))}.</p>"
        )
        if checked.problems:
            shown = checked.problems[:_MOST_PROBLEMS]
            rows = [
                (
                    "error" if problem.is_error else "warning",
                    html_text(problem.key),
                    html_text(problem.member or problem.array or ""),
                    html_text(problem.message),
                )
                for problem in shown
            ]
            parts.append(table(("", "Object", "File or array", "Problem"), rows, caption="What verify found"))
            if len(checked.problems) > len(shown):
                parts.append(f"<p>and {len(checked.problems) - len(shown):,} more</p>")
    if facts.problems:
        unread = [
            (html_text(key), html_text(text)) for key, text in list(facts.problems.items())[:_MOST_PROBLEMS]
        ]
        parts.append(table(("Object", "Problem"), unread, caption="Not read in full for this page"))
    return "".join(parts)
