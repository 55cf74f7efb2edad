"""`simarchive add`: store runs of simulation programs, with what their files say."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simarchive.cli import object_keys, opening
from simarchive.cli.arguments import (
    PATH,
    codec_option,
    container_argument,
    dry_run_option,
    json_option,
    wait_option,
)
from simarchive.cli.failures import Findings
from simarchive.cli.output import count_text, print_json, print_line, print_notice
from simarchive.cli.progress_bars import objects_bar
from simarchive.cli.streams import one_line
from simarchive.errors import IncompleteError, InvalidDataError
from simarchive.ground.vocabulary.criteria import ALIASES

if TYPE_CHECKING:
    from simarchive.storage.hdf5.storage import HDF5Storage
    from simarchive.storage.runs.adding import ReadRun

_MOST_ACCOUNTS = 4
_MOST_LINES = 50


@click.command("add", short_help="Store runs of OpenMM, GROMACS, AMBER, LAMMPS, NAMD.")
@container_argument
@click.argument("directories", metavar="DIR...", type=PATH, nargs=-1, required=True)
@click.option("--name", metavar="NAME", help="What the run is called; by default as its directory.")
@click.option("--tag", "tags", metavar="WORD", multiple=True, help="A word to find it by; may be repeated.")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="A field, such as temperature=300K, or metadata of any other name; may be repeated.",
)
@click.option("--substance", metavar="SMILES", help="What it is made of, as in queries: O is water.")
@click.option("--parent", "parents", metavar="KEY", multiple=True, help="The object that it continues.")
@dry_run_option
@click.option(
    "--follow-links",
    is_flag=True,
    help="Take the files that links in DIR lead to, as git-annex and DataLad have them.",
)
@codec_option
@wait_option
@json_option
def command(
    container: Path,
    directories: tuple[Path, ...],
    name: str | None,
    tags: tuple[str, ...],
    settings: tuple[str, ...],
    substance: str | None,
    parents: tuple[str, ...],
    dry_run: bool,
    follow_links: bool,
    codec: str,
    wait_s: float,
    as_json: bool,
) -> None:
    """Store each DIR, a directory of one run, in FILE with all of its files.

    What the files say is filled in: program, atoms, frames, state, time step, energies. What was guessed is
    named. FILE is created if it does not exist. DIR is copied, and not changed.

    \b
    Examples:
      simarchive add lab.h5 run7
      simarchive add lab.h5 runs/*/ --tag paper-2027 --set project=apo
      simarchive query lab.h5 "class=run tag=paper-2027 atoms>10000"

    Runs that are in FILE already are not stored again, so an add that was broken off can be repeated.
    Replicas and continuations are runs of their own: they never replace each other. The same files with
    another name, other tags or other metadata are another run, too, whose files take no room: it is named.

    Exit code 17 means that some DIR is no run or could not be read: it is named, and the rest is stored.
    """
    if name is not None and len(directories) > 1:
        raise click.UsageError("--name names one run: add the others by themselves, or leave it out")
    known = _known(name, tags, settings, substance, _whole_keys(parents, container))
    from simarchive.storage.runs.adding import add_runs, read_runs

    runs = read_runs(directories, follow_links=follow_links, **known)
    # Up to the first that can be stored: a wrong DIR must not leave an empty container behind.
    seen = list(_up_to_the_first(runs))
    if len(directories) == 1 and seen[0].problem is not None:
        raise seen[0].problem
    rest = itertools.chain(seen, runs)
    with_accounts = len(directories) <= _MOST_ACCOUNTS
    if dry_run or seen[-1].problem is not None:
        done = [_Done.of(run, with_accounts) for run in rest]
    else:
        done = []
        with (
            _target(container, codec=codec, wait_s=wait_s) as target,
            objects_bar("adding", len(directories), target) as progress,
        ):
            for run in add_runs(target, rest):
                done.append(_Done.of(run, with_accounts))
                if progress is not None:
                    progress(run)
    _report(done, container, dry_run=dry_run, as_json=as_json)


@dataclass(frozen=True)
class _Done:
    """What is told of one directory: of thousands no more is kept than that."""

    directory: str
    facts: dict[str, Any]
    summary: str = ""
    account: str = ""

    @classmethod
    def of(cls, run: ReadRun, with_account: bool) -> _Done:
        if run.reading is None or run.problem is not None:
            return cls(str(run.directory), {"problem": str(run.problem)})
        reading, outcome = run.reading, run.outcome
        facts: dict[str, Any] = (
            {} if outcome is None else {"key": outcome.key, "action": outcome.action.value}
        )
        facts |= {name: value for name, value in reading.run.index_values().items() if value is not None}
        facts["guesses"] = reading.run.guesses or {}
        facts["observables"] = list(reading.run.observables or ())
        facts["notes"] = [{"file": file, "note": text} for file, text in reading.notes]
        facts["not_read"] = reading.unknown
        facts["same_files_as"] = run.same_files
        account = str(reading).partition("\n")[2] if with_account else ""
        return cls(str(run.directory), facts, reading.summary, account)


def _up_to_the_first(runs: Iterable[ReadRun]) -> Iterator[ReadRun]:
    for run in runs:
        yield run
        if run.problem is None:
            return


def _target(container: Path, *, codec: str, wait_s: float) -> HDF5Storage:
    """Return the container, made if it is missing; not only at the end, so that an add can be repeated."""
    from simarchive.storage.hdf5.storage import HDF5Storage

    return HDF5Storage(container, codec=codec, lock_timeout_s=wait_s)


def _whole_keys(parents: Sequence[str], container: Path) -> list[str]:
    if not parents:
        return []
    with opening.for_reading(container) as backend:
        return [object_keys.resolve(backend, key) for key in parents]


def _known(
    name: str | None,
    tags: Sequence[str],
    settings: Sequence[str],
    substance: str | None,
    parents: Sequence[str],
) -> dict[str, Any]:
    from simarchive.data import SimulationRun
    from simarchive.queries.literals import read_literal, read_plain_value, read_substance
    from simarchive.queries.registry import query_class_for

    known: dict[str, Any] = {"name": name, "tags": tags, "parents": parents, "metadata": {}}
    if substance is not None:
        known["substance"] = read_substance(substance)
    query_class = query_class_for(SimulationRun)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip() or not value:
            raise click.UsageError(f"--set takes KEY=VALUE, such as temperature=300K, not {setting!r}")
        field = ALIASES.get(key, key)
        if field in _NOT_SET:
            raise click.UsageError(f"--set cannot set {key}: {_NOT_SET[field]}")
        kinds = query_class.term_kinds(field)
        try:
            if kinds:
                known[field] = read_literal(value, kinds[0])
            else:
                known["metadata"][key] = read_plain_value(value)
        except InvalidDataError as error:
            raise InvalidDataError(f"--set {key}: {error}") from error
    # Refused here for all, not once for each directory.
    checked = SimulationRun(name="run", tags=list(tags), metadata=known["metadata"])
    for field in known.keys() - {"name", "tags", "parents", "metadata"}:
        setattr(checked, field, known[field])
    return known


_NOT_SET = {
    "name": "use --name",
    "tags": "use --tag",
    "substance": "use --substance",
    "parents": "use --parent",
    "metadata": "name the value itself, as in --set project=apo",
    "composition": "it is counted in the files",
}


def _report(done: Sequence[_Done], container: Path, *, dry_run: bool, as_json: bool) -> None:
    left_out = [one for one in done if "problem" in one.facts]
    if as_json:
        runs = [{"directory": one.directory, **one.facts} for one in done]
        print_json({"target": str(container), "dry_run": dry_run, "runs": runs})
    else:
        _print(done, container, dry_run=dry_run)
        _print_same(done, container)
        if left_out:
            print_notice(f"simarchive: {count_text(len(left_out), 'directory', 'directories')} left out:")
            for one in left_out:
                # The message names the directory.
                print_notice(f"  {one_line(one.facts['problem'])}")
    if left_out:
        raise Findings(IncompleteError.exit_code)


def _print(done: Sequence[_Done], container: Path, *, dry_run: bool) -> None:
    good = [one for one in done if "problem" not in one.facts]
    for one in good if len(done) <= _MOST_LINES else ():
        print_line(one_line(_heading(one, dry_run=dry_run)), style="bold" if one.account else None)
        if one.account:
            print_line("\n".join(map(one_line, one.account.splitlines())))
            print_line()
    if dry_run:
        print_line(f"{container}: {count_text(len(good), 'run')} would be stored")
        return
    n_there = sum(one.facts["action"] == "keep" for one in good)
    parts = [f"{count_text(len(good) - n_there, 'run')} stored"]
    if n_there:
        parts.append(f"{n_there:,} there already")
    print_line(f"{container}: {', '.join(parts)}")


def _print_same(done: Sequence[_Done], container: Path) -> None:
    same = [one for one in done if one.facts.get("same_files_as")]
    if not same:
        return
    what = "1 run has" if len(same) == 1 else f"{len(same):,} runs have"
    print_notice(f"simarchive: {what} the very files of a run that was there, and other words:")
    for one in same[:_MOST_LINES]:
        others = ", ".join(key[:8] for key in one.facts["same_files_as"])
        print_notice(f"  {one_line(one.directory)} -> {one.facts['key'][:8]}, as {others}")
    if len(same) > _MOST_LINES:
        print_notice(f"  and {len(same) - _MOST_LINES:,} more")
    print_notice(f"To take one back: simarchive rm {container} KEY")
    print_notice(f"To tag a stored run instead: simarchive amend {container} KEY --tag TAG")


def _heading(one: _Done, *, dry_run: bool) -> str:
    words = one.directory
    if not dry_run:
        words += f" -> {one.facts['key'][:8]}"
        if one.facts["action"] == "keep":
            words += " (there already)"
    return words if one.account or not one.summary else f"{words}  {one.summary}"
