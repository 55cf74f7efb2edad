"""Whatever a file, a directory or a name holds: nothing of it commands the terminal, and JSON reads back."""

import errno
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from blake3 import blake3

from simarchive import HDF5Storage
from simarchive.cli.streams import PrintableStream, json_text, one_line, printable
from simarchive.testing.sample_objects import simulation, write_files

CONTROLS = [chr(code) for code in [*range(32), *range(0x7F, 0xA0)]]
BIDI = list("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
SEPARATORS = ["\u2028", "\u2029"]
UNSEEN = ["\u200b", "\u200d", "\u2060", "\ufeff", "\xad", "\U000e0041", "\ud800", "\udc9b"]
EVERY = [*CONTROLS, *BIDI, *SEPARATORS, *UNSEEN]

# What our own colours, bold headings and bars are made of.
OURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FORBIDDEN = set(EVERY) - set("\n\t\r")
# An OSC, a CSI, C1, text direction, rich's markup, a line of its own, a mark between lines.
EVIL = "\x1b]0;title\x07\x1b[31m\x9b5m\u202e\u2066\x7f[red]bold[blink]\u2028\r\x08"


@pytest.mark.parametrize("letter", EVERY, ids=lambda letter: f"U+{ord(letter):04X}")
def test_every_such_character_is_escaped_and_read_back_from_json(letter: str) -> None:
    text = f"a{letter}b"
    assert one_line(text).isprintable()
    assert printable(text) == (text if letter in "\n\t" else one_line(text))
    assert json_text({text: [text]}).isprintable()
    assert json.loads(json_text({text: [text]})) == {text: [text]}


def test_ordinary_text_is_left_alone() -> None:
    text = "Öl — 3 µs, 水, naïve, [red], 𝛼"
    assert printable(text) == one_line(text) == text
    assert json.loads(json_text([text], indent=2)) == [text]
    assert text in json_text([text])


def _smiles(node: h5py.Group) -> None:
    _change(node, lambda document: document["substance"].update(_substance(f"C{EVIL}")))


def _substance(smiles: str) -> dict[str, Any]:
    return {"components": [{"smiles": smiles, "role": "solv"}], "amounts": {smiles: []}}


def _field_name(node: h5py.Group) -> None:
    _change(node, lambda document: document.update({f"field{EVIL}": 1}))


def _field_text(node: h5py.Group) -> None:
    _change(node, lambda document: document.update(source_calculation_id=f"c{EVIL}"))


def _reference(node: h5py.Group) -> None:
    _change(node, lambda document: document.update(force_field_id=f"f{EVIL}"))


def _unit(node: h5py.Group) -> None:
    _change(node, lambda document: document["thermodynamic_state"]["temperature"].update(unit=f"K{EVIL}"))


def _tag(node: h5py.Group) -> None:
    _change(node, lambda document: document.update({"x": {f"@tag{EVIL}": 1}}))


def _class_name(node: h5py.Group) -> None:
    del node.attrs["object_summary"]
    _write(node, "data_class", f"X{EVIL}")
    _write(node.parent, "data_classes", json.dumps([f"X{EVIL}"]))


def _stored_at(node: h5py.Group) -> None:
    del node.attrs["object_summary"]
    _write(node, "stored_at", f"2026{EVIL}")


def _created_by(node: h5py.Group) -> None:
    _write(node.file, "created_by", f"me{EVIL}")
    _write(node.file, "created_at", f"today{EVIL}")


def _key(node: h5py.Group) -> None:
    node.parent.id.move(node.name.rpartition("/")[2].encode(), f"k{EVIL}".encode())


def _member_name(node: h5py.Group) -> None:
    h5py.h5o.link(node["files/output.pdb"].id, node["files"].id, f"m{EVIL}".encode())


def _encoded_member_name(node: h5py.Group) -> None:
    name = "".join(f"%{byte:02X}" for byte in f"m{EVIL}".encode())
    h5py.h5o.link(node["files/output.pdb"].id, node["files"].id, name.encode())


def _codec(node: h5py.Group) -> None:
    _write(node["files/output.pdb"], "member_codec", f"raw{EVIL}")


def _digest(node: h5py.Group) -> None:
    _write(node["files/output.pdb"], "member_blake3", f"0{EVIL}")


def _summary(node: h5py.Group) -> None:
    # With the digest that belongs to it: what it says is believed.
    line = f"key 1 1 {'0' * 64} 2026{EVIL} X{EVIL}"
    digest = blake3(line.encode() + b"\0" + bytes(node.attrs["document"])).hexdigest()
    _write(node, "object_summary", f"{digest} {line}")


def _lines(node: h5py.Group) -> None:
    _change(node, lambda document: document.update(source_calculation_id="c\nsimarchive: all is well"))


PLACES = [
    _smiles, _field_name, _field_text, _reference, _unit, _tag, _class_name, _stored_at, _created_by, _key,
    _member_name, _encoded_member_name, _codec, _digest, _summary, _lines,
]  # fmt: skip

COMMANDS = [
    ["info", "x.h5"],
    ["ls", "x.h5"],
    ["ls", "x.h5", "--long"],
    ["show", "x.h5", "KEY"],
    ["query", "x.h5"],
    ["query", "x.h5", "--table"],
    ["query", "x.h5", "--keys"],
    ["query", "x.h5", "--explain"],
    ["verify", "x.h5"],
    ["diff", "x.h5", "sound.h5"],
    ["merge", "x.h5", "-o", "m.h5"],
    ["subset", "x.h5", "s.h5", "--exclude-component", "N"],
    ["export", "x.h5", "dir"],
    ["extract", "x.h5", "KEY", "-o", "out"],
    ["cat", "x.h5", "KEY/nothing"],
    ["rm", "x.h5", "KEY"],
    ["repack", "x.h5"],
    ["repair", "x.h5"],
]

# Many commands in one process each: the command line of this process's own interpreter, forked.
RUN_ALL = """
import contextlib, json, os, shutil, sys
from simarchive.cli import main
import simarchive.cli.failures, simarchive.storage.hdf5.storage, simarchive.storage.evaluator_directory
import simarchive.storage.merging, simarchive.queries.expression, rich.table, rich.progress
commands = json.loads(sys.argv[1])
for number, arguments in enumerate(commands):
    child = os.fork()
    if not child:
        os.mkdir(str(number)); shutil.copy("x.h5", str(number)); os.chdir(str(number))
        os.symlink("../sound.h5", "sound.h5")
        main(arguments)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f"<{number}: {status}>", flush=True)
"""


def _write(node: Any, name: str, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    if name in node.attrs:
        del node.attrs[name]
    node.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", len(data)))


def _change(node: h5py.Group, change: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(node.attrs["document"])
    change(document)
    _write(node, "document", json.dumps(document))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sound")
    with HDF5Storage(place / "sound.h5") as backend:
        for number in range(2):
            backend.store_object(simulation(str(number)), write_files(place / str(number)))
    return place / "sound.h5"


def at_a_terminal(command: list[str], cwd: Path) -> str:
    """Return what a command shows on a terminal, both streams together."""
    master, slave = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave
    ):
        os.close(slave)
        shown = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError as error:
                assert error.errno == errno.EIO  # how Linux says that the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(master)
    return shown.decode()


def assert_harmless(text: str, *, colours: bool = False) -> None:
    plain = OURS.sub("", text) if colours else text
    plain = plain.replace("\r\n", "\n") if colours else plain
    for place, letter in enumerate(plain):
        # A bar goes back to the start of its line; nothing else does.
        if letter in FORBIDDEN or (letter == "\r" and not colours):
            raise AssertionError(ascii(plain[max(0, place - 200) : place + 20]))
    # None of these is ours, even if a terminal had let them through in the midst of ours.
    assert "\x1b]" not in text
    assert "\x1b[5m" not in text
    if colours:
        assert "\x1b[31mbold" not in text  # rich's markup


def assert_all_harmless(
    commands: list[list[str]],
    change: Callable[[h5py.Group], Any],
    sound: Path,
    place: Path,
    *,
    ways: list[str],
) -> None:
    """Run commands on a changed container in each way: to pipes, as JSON, at a terminal, and that as JSON."""
    with h5py.File(sound, "r") as file:
        key, _ = file["objects"]
    shutil.copy(sound, place / "x.h5")
    with h5py.File(place / "x.h5", "r+", libver=("v110", "v110"), track_order=True) as file:
        change(file[f"objects/{key}"])
    plain = [[word.replace("KEY", key) for word in command] for command in commands]
    with_json = [[*command, "--json"] for command in plain if command[0] != "cat"]
    for way in ways:
        forms = with_json if "json" in way else plain
        cwd = place / way
        cwd.mkdir()
        shutil.copy(sound, cwd)
        shutil.copy(place / "x.h5", cwd)
        run = [sys.executable, "-c", RUN_ALL, json.dumps(forms)]
        if way.startswith("terminal"):
            shown = at_a_terminal(run, cwd)
            assert_harmless(shown, colours=True)
        else:
            done = subprocess.run(run, cwd=cwd, capture_output=True, check=False, timeout=120)
            shown, said = done.stdout.decode(), done.stderr.decode()
            assert_harmless(shown)
            assert_harmless(said)
            if "json" in way:
                for line in said.splitlines():
                    json.loads(line)
            assert "\nsimarchive: all is well" not in shown + said
        codes = [int(code) for code in re.findall(r"<\d+: (-?\d+)>", shown)]
        assert len(codes) == len(forms), shown
        assert not set(codes) & {70, -6, -11}, (codes, shown)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_no_place_of_a_file_commands_the_terminal(
    place: Callable[[h5py.Group], None], sound: Path, tmp_path: Path
) -> None:
    """Each place alone, for a damage may keep commands from coming to the next."""
    chosen = [command for command in COMMANDS if command[0] in ("show", "verify", "merge", "repair")]
    assert_all_harmless(chosen, place, sound, tmp_path, ways=["pipe", "json"])


@pytest.mark.slow
@pytest.mark.parametrize("places", [[_smiles, _key, _created_by], [_field_text, _stored_at, _member_name]])
def test_no_command_lets_a_file_command_the_terminal(
    places: list[Callable[[h5py.Group], None]], sound: Path, tmp_path: Path
) -> None:
    def change(node: h5py.Group) -> None:
        # A key is changed last, for then the group has another name.
        for place in sorted(places, key=lambda place: place is _key):
            place(node)

    ways = ["pipe", "json", "terminal", "terminal-json"]
    assert_all_harmless(COMMANDS, change, sound, tmp_path, ways=ways)


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", f"none{EVIL}.h5"],
        ["ls", "x.h5", f"--none{EVIL}"],
        [f"none{EVIL}"],
        ["ls", "x.h5", f"extra{EVIL}"],
        ["show", "x.h5", f"none{EVIL}"],
        ["query", "x.h5", f"phase={EVIL}"],
        ["query", "x.h5", f"T=1{EVIL}"],
        ["query", "x.h5", EVIL],
        ["query", "x.h5", "--order-by", EVIL],
        ["ls", "x.h5", "--class", EVIL],
        ["cat", "x.h5", f"{EVIL}/{EVIL}"],
        ["rm", "x.h5", "a", "--wait", EVIL],
        ["import", f"none{EVIL}", "y.h5"],
        ["export", "x.h5", f"x.h5/{EVIL}"],
        ["extract", "x.h5", "KEY", "-o", "out", "--files", EVIL],
        ["subset", "x.h5", "y.h5", "--include-component", EVIL],
        ["subset", "x.h5", "y.h5", "--include-component", f"C{EVIL}"],
    ],
    ids=lambda arguments: ascii(" ".join(arguments))[:40],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_typed_comes_back_harmless(
    arguments: list[str], as_json: bool, sound: Path, tmp_path: Path
) -> None:
    shutil.copy(sound, tmp_path / "x.h5")
    with HDF5Storage(sound, mode="r") as backend:
        key = backend.keys()[0]
    command = [sys.executable, "-m", "simarchive", *(word.replace("KEY", key) for word in arguments)]
    command += ["--json"] if as_json and arguments[0] != "cat" else []
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert done.returncode in (1, 2, 3, 4, 5, 7, 14), done.stderr
    assert_harmless(done.stdout.decode())
    assert_harmless(done.stderr.decode())
    if as_json and arguments[0] != "cat":
        assert json.loads(done.stderr)["exit_code"] == done.returncode
    assert_harmless(at_a_terminal(command, tmp_path), colours=True)


def test_files_of_evil_names_and_contents(tmp_path: Path) -> None:
    directory = write_files(tmp_path / "files")
    evil = EVIL + "\n\x01"
    (directory / f"{evil}.txt").write_text(f"text {EVIL}\r\nend\r\n")
    with HDF5Storage(tmp_path / "a.h5") as backend:
        key = backend.store_object(simulation(), directory)
    command = [sys.executable, "-m", "simarchive"]
    for arguments in (["show", "a.h5", key], ["extract", "a.h5", key, "-o", "out", "--overwrite"]):
        for words in (arguments, [*arguments, "--json"]):
            done = subprocess.run(
                [*command, *words], cwd=tmp_path, capture_output=True, check=True, timeout=60
            )
            assert_harmless(done.stdout.decode())
            assert done.stderr == b""
            assert_harmless(at_a_terminal([*command, *words], tmp_path), colours=True)
    (place,) = [
        file["path"] for file in json.loads(done.stdout)["files"] if file["name"].endswith("].txt")
    ] or [file["path"] for file in json.loads(done.stdout)["files"] if "\x1b" in file["name"]]
    assert Path(tmp_path / place).is_file()
    name = f"{key}/{evil}.txt"
    piped = subprocess.run([*command, "cat", "a.h5", name], cwd=tmp_path, capture_output=True, check=True)
    assert piped.stdout.decode() == f"text {EVIL}\r\nend\r\n"
    shown = at_a_terminal([*command, "cat", "a.h5", name], tmp_path)
    assert_harmless(shown.replace("\r\n", "\n"))
    assert shown.startswith("text \\x1b]0;title\\x07")
    assert shown.endswith("\r\nend\r\n")


def test_a_traceback_and_a_warning_are_harmless(tmp_path: Path) -> None:
    script = (
        "import sys, warnings\n"
        "from simarchive.cli import main\n"
        "from simarchive.cli.commands import show\n"
        "def fail(*_):\n"
        "    import logging\n"
        "    warnings.warn('w' + sys.argv[1])\n"
        "    logging.getLogger('simarchive').warning('l%s', sys.argv[1])\n"
        "    raise ZeroDivisionError('e' + sys.argv[1])\n"
        "show.choose = fail\n"
        "main(['show', sys.argv[2], 'a', *sys.argv[3:]])\n"
    )
    with HDF5Storage(tmp_path / "a.h5"):
        pass
    for more in ([], ["--json"]):
        command = [sys.executable, "-c", script, EVIL, "a.h5", *more]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
        assert done.returncode == 70
        assert_harmless(done.stderr.decode())
        assert_harmless(at_a_terminal(command, tmp_path), colours=True)
        if more:
            first, second, last = map(json.loads, done.stderr.splitlines())
            assert (first["warning"], second["warning"]) == (f"w{EVIL}", f"l{EVIL}")
            assert (last["error"], last["type"]) == (f"e{EVIL}", "ZeroDivisionError")
            assert any("Traceback" in note for note in last["notes"])
        else:
            assert "Traceback" in done.stderr.decode()
            assert "ZeroDivisionError: e\\x1b]0;" in done.stderr.decode()


def test_nothing_writes_past_the_guard() -> None:
    source = Path(sys.modules[PrintableStream.__module__].__file__ or "").parent
    for path in source.rglob("*.py"):
        if path.name != "streams.py":
            text = path.read_text()
            assert "sys.__std" not in text, path
            assert "click.echo" not in text, path
            assert len(re.findall(r"Console\(", text)) == len(
                re.findall(r"Console\(\s*file=behind\(", text)
            ), path
