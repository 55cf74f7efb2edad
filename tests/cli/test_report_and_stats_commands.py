"""`simarchive report`, `stats` and the drawing of `show`; and how commands put what they found."""

import os
import pty
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from command_runs import Run, command_line, environment

from simarchive import HDF5Storage
from simarchive.cli import failures, text_plot
from simarchive.cli.merge_report import report_merge
from simarchive.storage.display.series import Series, summary_of
from simarchive.storage.merging import MergeReport

WATER = "8d13dbc120154cbaade23403d2d22a29"


def on_terminal(*arguments: object, columns: int = 80, cwd: Path) -> str:
    """Return what a command shows on a terminal, without colours."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        command_line(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=child,
        stderr=subprocess.DEVNULL,
        cwd=cwd,
        env=environment() | {"COLUMNS": str(columns), "TERM": "dumb"},
    ) as process:
        os.close(child)
        shown = b""
        while True:
            try:
                piece = os.read(parent, 1 << 16)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        process.wait(timeout=60)
    os.close(parent)
    return shown.decode().replace("\r\n", "\n")


# --- report ------------------------------------------------------------------------------------------


def test_report_writes_a_page_and_says_so(run: Run, water: Path) -> None:
    done = run("report", water.name, "-o", "report.html").succeeded()
    page = water.parent / "report.html"
    assert done.output == f"water.h5 -> report.html: 13 objects, {page.stat().st_size / 1000:.3g} kB\n"
    assert page.read_text().startswith("<!doctype html>")
    answer = run("report", water.name, "-o", "report.html", "--verify", "--json").succeeded().json
    assert answer["n_objects"] == 13
    assert answer["problems"] == {}
    assert answer["verification"]["ok"]
    assert answer["n_bytes"] == page.stat().st_size
    assert "no error was found" in page.read_text()


def test_report_replaces_no_container(run: Run, water: Path) -> None:
    before = water.read_bytes()
    run("report", water.name, "-o", water.name).failed(7, "is no report")
    assert water.read_bytes() == before
    run("report", "missing.h5", "-o", "report.html").failed(3, "missing.h5")
    run("report", water.name, "-o", "missing/report.html").failed(3, "missing")
    assert not (water.parent / "report.html").exists()


def test_report_names_what_it_cannot_read_and_goes_on(run: Run, water: Path) -> None:
    with h5py.File(water) as file:
        offset = file[f"objects/{WATER}/observables.Density"].id.get_offset()
    damaged = bytearray(water.read_bytes())
    damaged[offset + 9] ^= 0xFF
    water.write_bytes(damaged)
    done = run("report", water.name, "-o", "report.html")
    assert done.exit_code == 17
    assert "1 object not read in full" in done.errors
    assert WATER in done.errors
    page = (water.parent / "report.html").read_text()
    assert "1 object not read in full" in page
    assert page.count('"files"') >= 11
    assert run("report", water.name, "-o", "report.html", "--verify").exit_code == 11
    assert "damaged: 1 error found" in (water.parent / "report.html").read_text()


def test_report_reads_apart_from_the_command(run: Run, water: Path) -> None:
    """What crashes is the child: the command says so, and the page of before stays."""
    run("report", water.name, "-o", "report.html").succeeded()
    before = (water.parent / "report.html").read_bytes()
    script = (
        "import os, sys\n"
        "from simarchive.cli import main\n"
        "from simarchive.interop import report\n"
        "report.gather = lambda *_, **__: os.kill(os.getpid(), 11)\n"
        "main(['report', 'water.h5', '-o', 'report.html', *sys.argv[1:]])\n"
    )
    command = [sys.executable, "-c", script]
    options: dict[str, Any] = {
        "cwd": water.parent,
        "env": environment(),
        "capture_output": True,
        "timeout": 60,
    }
    done = subprocess.run(command, check=False, **options)
    assert done.returncode == 18, done.stderr
    assert b"crashed the HDF5 library (SIGSEGV)" in done.stderr
    assert (water.parent / "report.html").read_bytes() == before
    assert sorted(path.name for path in water.parent.iterdir()) == ["report.html", "water.h5"]
    assert subprocess.run([*command, "--no-isolated"], check=False, **options).returncode == -11


# --- stats -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["extension", "class", "substance"])
def test_stats_add_up_to_what_the_objects_have(run: Run, imported: Path, by: str) -> None:
    answer = run("stats", imported, "--by", by, "--json").succeeded().json
    expected: dict[str, list[Any]] = defaultdict(lambda: [set(), 0, 0, 0])
    with HDF5Storage(imported, mode="r") as backend:
        for key in backend.keys():  # noqa: SIM118
            stored = backend.load(key)
            own = {
                "class": backend.class_name_of(key),
                "substance": getattr(getattr(stored, "substance", None), "identifier", ""),
            }
            if by in own:
                expected[own[by]][0].add(key)
            for info in backend.list_members(key):
                group = expected[own.get(by, Path(info.name).suffix)]
                group[0].add(key)
                group[1] += 1
                group[2] += info.size
                group[3] += info.stored_size
    assert {
        group["name"]: [group["n_objects"], group["n_files"], group["logical_bytes"], group["stored_bytes"]]
        for group in answer["groups"]
    } == {name: [len(keys), *numbers] for name, (keys, *numbers) in expected.items()}
    stored = [group["stored_bytes"] for group in answer["groups"]]
    assert stored == sorted(stored, reverse=True)
    lines = run("stats", imported, "--by", by).succeeded().output.splitlines()
    assert len(lines) == len(expected) + 2
    assert max(map(len, lines)) <= 80


def test_a_file_that_is_shared_is_counted_once(run: Run, tmp_path: Path) -> None:
    from simarchive.testing.sample_objects import simulation

    files = tmp_path / "files"
    files.mkdir()
    (files / "output.pdb").write_bytes(b"ATOM" * 5000)
    (files / "trajectory.dcd").write_bytes(os.urandom(200_000))
    with HDF5Storage(tmp_path / "twins.h5") as backend:
        for number in range(3):
            stored = simulation()
            stored.source_calculation_id = str(number)
            backend.store_object(stored, files)
    groups = run("stats", "twins.h5", "--json").succeeded().json["groups"]
    [dcd] = [group for group in groups if group["name"] == ".dcd"]
    assert (dcd["n_files"], dcd["logical_bytes"], dcd["shared_bytes"]) == (3, 600_000, 400_000)
    assert dcd["stored_bytes"] == 200_000
    assert "SHARED" in run("stats", "twins.h5").succeeded().output


# --- show --------------------------------------------------------------------------------------------


def test_show_gives_means_with_errors(run: Run, imported: Path) -> None:
    with HDF5Storage(imported, mode="r") as backend:
        density = backend.load(WATER).observables["Density"].value.magnitude
    [line] = [
        line
        for line in run("show", imported, WATER).succeeded().output.splitlines()
        if line.startswith("Density ") and "±" in line
    ]
    _, mean, _, error, unit, _ = line.split()
    assert unit == "g/ml"
    assert float(mean) == pytest.approx(density.mean(), abs=float(error) / 10)
    # Correlated values: the error is larger than that of independent ones.
    independent = density.std(ddof=1) / len(density) ** 0.5
    assert 1.2 < float(error) / independent < 3


def test_show_draws_what_is_asked_for(run: Run, imported: Path) -> None:
    output = run("show", imported, WATER, "--plot", "dens*", "--plot", "Volume").succeeded().output
    assert "\nDensity / g/ml\n1.0455 " in output
    assert "\nVolume / nm³\n" in output
    assert "Enthalpy /" not in output
    assert " /" not in run("show", imported, WATER).succeeded().output.partition("OBSERVABLE")[2].replace(
        "kJ/mol", ""
    )
    run("show", imported, WATER, "--plot", "Vol").failed(3, "'Vol'", "Volume, Density")


def test_show_draws_the_first_on_a_terminal(imported: Path) -> None:
    shown = on_terminal("show", imported, WATER, cwd=imported.parent)
    assert "PotentialEnergy / kJ/mol" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_drawing_rises_where_the_values_do() -> None:
    summary = summary_of(Series("ramp", "", np.arange(500.0)), n_points=text_plot.N_POINTS, n_bins=1)
    assert summary is not None
    for in_braille in (True, False):
        lines = text_plot.lines_of(summary, in_braille=in_braille)
        assert len(lines) == text_plot.HEIGHT
        starts = [len(line) - len(line[8:].lstrip()) for line in lines]
        assert starts == sorted(starts, reverse=True)
        assert starts[0] > starts[-1] + 30
    flat = summary_of(Series("flat", "", np.full(50, 3.0)), n_points=text_plot.N_POINTS, n_bins=1)
    assert flat is not None
    assert sum(bool(line.replace("3", "").strip()) for line in text_plot.lines_of(flat)) == 1


# --- words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("list", "ls"),
        ("find", "query"),
        ("check", "verify"),
        ("shwo", "show"),
        ("delete", "rm"),
        ("List", "ls"),
    ],
)
def test_another_name_of_a_command_is_understood(run: Run, typed: str, meant: str) -> None:
    run(typed, "water.h5").failed(2, f"no command {typed!r}", f"do you mean 'simarchive {meant}'?")


def test_a_command_that_nobody_means_leads_to_the_help(run: Run) -> None:
    run("xyzzy").failed(2, "no command 'xyzzy'", "see: simarchive --help")


def test_every_other_name_leads_to_a_command() -> None:
    from simarchive.cli.application import _MEANT, COMMANDS

    names = {name for found in COMMANDS.values() for name in found}
    assert set(_MEANT) <= names
    others = [other for found in _MEANT.values() for other in found]
    assert len(others) == len(set(others))
    assert not names & set(others)


def test_nothing_found_is_said_in_words(run: Run, imported: Path) -> None:
    assert run("query", imported, "T=5K").succeeded().output == "no object matches\n"


def test_a_heading_says_a_state_as_the_rows_do(run: Run, imported: Path) -> None:
    output = run("query", imported, "substance=CO temperature=290..300K pressure=1atm").succeeded().output
    assert output.splitlines()[0] == "CO, 298.15 K, 1 atm"
    assert "kelvin" not in output


def test_an_explanation_counts_in_words(run: Run, imported: Path) -> None:
    output = (
        run("query", imported, "class=free_energy T=298.15K", "--explain", "--limit", "1").succeeded().output
    )
    assert "StoredFreeEnergyData: 1 object\n" in output
    assert "at most 1 object\n" in output
    assert "1 remains" in output
    assert "0 of" not in output


def test_all_is_well_is_said_only_if_nothing_follows(run: Run, water: Path) -> None:
    assert run("verify", water.name).succeeded().output.endswith("all is well\n")
    run("rm", water.name, "1377", "--force").succeeded()
    first, *warnings = run("verify", water.name).succeeded().output.splitlines()
    assert first.endswith(": no errors, 10 warnings")
    assert len(warnings) == 11


def test_verify_reads_well_at_80_columns(water: Path) -> None:
    with h5py.File(water) as file:
        [offset, *_] = [file[f"objects/{WATER}/files/trajectory.dcd"].id.get_chunk_info(0).byte_offset]
    damaged = bytearray(water.read_bytes())
    damaged[offset + 50] ^= 0xFF
    water.write_bytes(damaged)
    shown = on_terminal("verify", water.name, cwd=water.parent).splitlines()
    assert max(map(len, shown)) <= 80
    assert f"error: {WATER}, trajectory.dcd, chunk 0" in shown
    assert any(line.startswith("  ") and "CRC-32" in line for line in shown)


def test_tables_keep_keys_and_numbers_whole_at_80_columns(tmp_path: Path) -> None:
    from simarchive import Substance
    from simarchive.testing.sample_objects import simulation

    files = tmp_path / "files"
    files.mkdir()
    for name in ("output.pdb", "trajectory.dcd"):
        (files / name).write_bytes(b"x")
    stored = simulation()
    stored.substance = Substance.from_components("CCCCCCCCO", "CCCCCCCCN", "CCCCCCCCS", "c1ccccc1", "O")
    with HDF5Storage(tmp_path / "wide.h5") as backend:
        key = backend.store_object(stored, files)
    for command in (["ls"], ["query"], ["query", "--table"], ["stats", "--by", "substance"]):
        shown = on_terminal(command[0], "wide.h5", *command[1:], cwd=tmp_path).splitlines()
        assert max(map(len, shown)) <= 80, command
        assert (
            any(
                line.startswith(key[:8]) and " K " in line and line.rstrip().endswith("Liquid")
                for line in shown
            )
            or command[0] == "stats"
        )
    table = on_terminal("query", "wide.h5", "--table", cwd=tmp_path)
    assert key not in table


def test_what_is_left_out_says_why_and_its_key_once(capsys: pytest.CaptureFixture[str]) -> None:
    report = MergeReport(
        unreadable={"mine": "object 'mine' is of the data class 'Own', which is not registered"}
    )
    with pytest.raises(failures.Findings):
        report_merge({"own.h5": report}, Path("out"), as_json=False)
    reason = "mine: is of the data class 'Own', which is not registered"
    assert capsys.readouterr().err == f"simarchive: 1 object left out:\n  {reason}\n"
    assert str(report).endswith(", 1 left out")


def test_a_class_of_ones_own_is_shown_by_a_program_without_it(run: Run, tmp_path: Path) -> None:
    script = (
        "from simarchive import BaseStoredData, HDF5Storage, register_data_class\n"
        "@register_data_class('OwnData', version=1)\n"
        "class OwnData(BaseStoredData):\n"
        "    number: float\n"
        "    @classmethod\n"
        "    def has_ancillary_data(cls): return False\n"
        "with HDF5Storage('own.h5') as backend:\n"
        "    backend.store_object(OwnData(number=1.5), storage_key='mine')\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment(), check=True, timeout=60)
    assert (
        run("report", "own.h5", "-o", "report.html")
        .succeeded()
        .output.startswith("own.h5 -> report.html: 1 obj")
    )
    page = (tmp_path / "report.html").read_text()
    assert "OwnData, version 1" in page
    assert "number  1.5" in page


def test_a_round_pressure_is_written_in_its_unit() -> None:
    from simarchive.storage.display.wording import pressure_text

    texts = [pressure_text(pascal) for pascal in (101325.0, 1e5, 5e4, 202650.0, 1e8, 123456.0)]
    assert texts == ["1 atm", "1 bar", "0.5 bar", "2 atm", "1000 bar", "1.218 atm"]
