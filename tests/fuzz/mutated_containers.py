"""Damaged and hostile containers through all commands, each in a forked process with limits.

A case is a text, such as ``simarchive-1/417``: it says which container is changed, and how. It is changed by
plain h5py, which says anything that HDF5 can say, or byte by byte, or both.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from findings import MOST_BYTES, MOST_SECONDS, Findings
from mutations import mutate

from simarchive import HDF5Storage, SmirnoffForceFieldSource
from simarchive.cli import main
from simarchive.container import documents, layout
from simarchive.testing.sample_objects import equilibration, free_energy, simulation, write_files

FORMAT_V1 = Path(__file__).parents[1] / "data" / "format-v1" / "container.h5"
FILE = "a.h5"
SECRET = b"PRIVATE-KEY-SECRET-OF-24"
"""What lies outside, and must not come in: whole numbers of 64 bits."""
_DEFAULT_KEYS = ("0" * 32, "0" * 32)
_ADDRESS_SPACE = 4 << 30
_LARGE_BLOCKS = 64 << 11  # of 512 bytes
_MOST_ASLEEP_S = 60.0
# Left by programs that are killed, and swept by the next.
_MAY_STAY = ("simarchive-", ".simarchive-")


def commands(key: str, other: str) -> list[tuple[str, ...]]:
    """Return the command lines that each container goes through, those that change it last."""
    return [
        ("info", FILE, "--json"),
        ("ls", FILE, "--long"),
        ("ls", FILE, "--json", "--long"),
        ("show", "--json", "--arrays", "--", FILE, key),
        ("show", "--", FILE, other),
        ("query", FILE, "", "--json"),
        ("query", FILE, "phase=liquid T=290..310K", "--table"),
        ("query", FILE, "class=force_field", "--keys"),
        ("query", FILE, "contains=O", "--count", "--explain"),
        ("extract", "-o", "out", "--overwrite", "--", FILE, key, other),
        ("cat", "--", FILE, f"{key}/output.pdb", f"{key}/trajectory.dcd"),
        ("diff", FILE, "sound.h5"),
        ("verify", "--no-isolated", FILE),
        ("verify", "--no-isolated", "--full", FILE, "--json"),
        ("merge", FILE, "sound.h5", "-o", "merged.h5"),
        ("subset", FILE, "subset.h5", "--include-component", "O"),
        ("export", FILE, "exported"),
        ("import", "exported", "imported.h5"),
        ("rm", "--force", "--", FILE, other),
        ("repack", FILE),
        ("repair", FILE, "-o", "salvaged.h5"),
        ("repair", FILE),
        ("verify", "--no-isolated", FILE),
        ("import", "exported", FILE),
        ("info", "--isolated", FILE),
    ]


# ---- sound containers ----------------------------------------------------------------------------


def sound_containers(folder: Path) -> list[bytes]:
    """Return containers of every kind of object, codec and age, and one whose log is not empty."""
    contents = [FORMAT_V1.read_bytes()]
    for number, codec in enumerate(("deflate", "zstd", "trajectory", "raw")):
        path = folder / f"{codec}.h5"
        with HDF5Storage(path, codec=codec) as backend:
            files = write_files(folder / codec, trajectory=_walk(number))
            for name in ("one", "two")[: 2 - number % 2]:
                backend.store_object(simulation(name), files)
            backend.store_object(equilibration("layer"), files)
            backend.store_object(free_energy(3.0), files)
            backend.store_force_field(SmirnoffForceFieldSource("<SMIRNOFF version='0.3'/>"))
        contents.append(path.read_bytes())
    return contents


def _container_of_secrets(folder: Path) -> bytes:
    with h5py.File(folder / "other.h5", "w") as file:
        file["secret"] = np.frombuffer(SECRET * 200, "<f8")
        file["bytes"] = np.frombuffer(SECRET * 200, "u1")
        file["objects/secret/secret"] = np.frombuffer(SECRET * 200, "u1")
        file["objects/secret"].attrs["document"] = np.bytes_(SECRET)
    return (folder / "other.h5").read_bytes()


def _zeros(declared: documents.DeclaredVariable) -> np.ndarray[Any, Any]:
    return np.zeros(declared.shape, declared.dtype)


def _walk(seed: int) -> bytes:
    return np.random.default_rng(seed).normal(size=(10, 60)).cumsum(axis=0).astype("<f4").tobytes()


# ---- changes by plain h5py -----------------------------------------------------------------------


def edit(rng: random.Random, path: Path) -> None:
    """Change a container as a program could that knows HDF5 and nothing of containers."""
    with h5py.File(path, "r+", libver=("v110", "v110"), track_order=True) as file:
        for _ in range(rng.choice((1, 1, 2, 4))):
            nodes: list[Any] = [file]
            file.visititems(lambda _, node, nodes=nodes: nodes.append(node))
            # What HDF5 itself refuses is no change.
            with contextlib.suppress(Exception):
                rng.choice(_EDITS)(rng, file, rng.choice(nodes))


def _set_attribute(rng: random.Random, _file: h5py.File, node: Any) -> None:
    names = [*node.attrs] or list(vars(layout).values())
    name = str(
        rng.choice(names if rng.random() < 0.9 else [v for v in vars(layout).values() if isinstance(v, str)])
    )
    value = rng.choice(_VALUES)(rng)
    if name in node.attrs:
        old = node.attrs.get_id(name)
        if rng.random() < 0.3:
            # The same type, other bytes.
            raw = bytearray(old.get_storage_size())
            old.read(np.frombuffer(raw, ("V", old.dtype.itemsize)).reshape(old.shape), mtype=old.get_type())
            changed = mutate(rng, bytes(raw), n=1)[: len(raw)].ljust(len(raw), b"\0")
            old.write(
                np.frombuffer(changed, ("V", old.dtype.itemsize)).reshape(old.shape), mtype=old.get_type()
            )
            return
        del node.attrs[name]
    if isinstance(value, tuple):
        node.attrs.create(name, value[0], **value[1])
    else:
        node.attrs[name] = value


_VALUES: list[Callable[[random.Random], Any]] = [
    lambda rng: rng.choice((0, -1, 1, 2**31, 2**63 - 1, -(2**63), 64 << 40)),
    lambda rng: np.uint64(2**64 - 1),
    lambda rng: rng.choice((float("nan"), 1e308, float("inf"), -0.0)),
    lambda rng: np.full(rng.choice((0, 1, 2, 3, 1000)), rng.choice((0, -1, 7, 2**40))),
    lambda rng: np.zeros((2, 3)),
    lambda rng: np.full((20,), "x" * 100, dtype="S100"),
    lambda rng: np.bytes_(rng.choice((b"", b"\xff\xfe", b"a\0b", b"\x1b]0;x\x07", b"x" * 60_000))),
    lambda rng: rng.choice(("", "text", "\u202e", "{}", "[]", "x" * 70_000)),
    lambda rng: h5py.Empty(rng.choice(("S5", "f8", "i4"))),
    lambda rng: np.array([(1, b"a")], dtype=[("a", "i4"), ("b", "S4")]),
    lambda rng: True,
    lambda rng: (["a", "b"], {"dtype": h5py.string_dtype()}),
    lambda rng: (_json(rng), {"dtype": h5py.string_dtype("utf-8", 20_000)}),
    lambda rng: (np.arange(3), {"dtype": h5py.vlen_dtype("i4")}),
    lambda rng: 1 + 2j,
]


def _json(rng: random.Random) -> bytes:
    return rng.choice(
        (
            b"[" * 9000, b'{"a":' * 3000, b"null", b"1", b'"text"', b"9" * 5000, b"1e999", b'{"@float":"x"}',
            b'{"@variable":{"name":"../../x","dtype":"<f8","shape":[2]}}', b'["a",1,null]', b"{}", b"\xff",
            b'{"@array":{"dtype":"O","shape":[9999999999],"data":[]}}', b'{"a":"\\ud800"}', b'{"a":NaN}',
        )
    )  # fmt: skip


def _edit_document(rng: random.Random, file: h5py.File, _node: Any) -> None:
    group = rng.choice(list(file[layout.OBJECTS].values()))
    text = np.bytes_(group.attrs[layout.DOCUMENT])
    words = (
        b'""',
        b"null",
        b"[]",
        b"{}",
        b"1e400",
        b"-1",
        b'"\\ud800"',
        b"9" * 400,
        b"[" * 2000,
        b'"\\u001b"',
    )
    changed = mutate(rng, bytes(text), (), words, n=rng.choice((1, 2)))
    if rng.random() < 0.7:
        tree = json.loads(text)
        holder, place = rng.choice([*_places(tree)])
        holder[place] = rng.choice(
            (None, -1, 1e300, "", "\x1b[2J", [], {}, [[1]], {"@float": "NaN"}, True, 10**30)
        )
        changed = json.dumps(tree).encode()
    del group.attrs[layout.DOCUMENT]
    group.attrs.create(layout.DOCUMENT, changed, dtype=h5py.string_dtype("utf-8", max(len(changed), 1)))


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for place, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, place
        if isinstance(value, dict | list):
            yield from _places(value)


def _delete(rng: random.Random, _file: h5py.File, node: Any) -> None:
    if node.attrs and rng.random() < 0.6:
        del node.attrs[rng.choice([*node.attrs])]
    elif isinstance(node, h5py.Group) and len(node):
        del node[rng.choice([*node])]


_NAMES = (
    "-x",
    "--help",
    "..x",
    "a b",
    "\x1b[2J",
    "\u202e",
    "a" * 300,
    "é",
    "a%2Fb",
    "0" * 32,
    "~",
    "a\nb",
    "\u2028",
)


def _add_link(rng: random.Random, file: h5py.File, node: Any) -> None:
    group = node if isinstance(node, h5py.Group) else node.parent
    all_nodes: list[Any] = [file]
    file.visititems(lambda _, other: all_nodes.append(other))
    name = rng.choice((*_NAMES, "new"))
    if len(group) and rng.random() < 0.5:
        name = rng.choice([*group])
        del group[name]
    group[name] = rng.choice(
        (
            h5py.SoftLink("/objects"), h5py.SoftLink("/nowhere"), h5py.SoftLink(f"{group.name}/{name}"),
            h5py.ExternalLink("sound.h5", "/objects"), h5py.ExternalLink("/etc/hostname", "/"),
            rng.choice(all_nodes), group, np.dtype("f8"),
        )
    )  # fmt: skip


def _rename(rng: random.Random, _file: h5py.File, node: Any) -> None:
    if isinstance(node, h5py.Group) and len(node):
        node.move(rng.choice([*node]), rng.choice(_NAMES))


def _replace_dataset(rng: random.Random, file: h5py.File, _node: Any) -> None:
    found: list[Any] = []
    file.visititems(lambda _, node: found.append(node) if isinstance(node, h5py.Dataset) else None)
    old = rng.choice(found)
    parent, name, attributes = old.parent, old.name.rpartition("/")[2], dict(old.attrs)
    shape, dtype = old.shape, old.dtype
    del parent[name]
    kind = rng.randrange(9)
    if kind == 0:
        new = parent.create_dataset(name, shape=(1 << 44,), dtype=dtype, chunks=(1 << 18,))
    elif kind == 1:
        new = parent.create_dataset(name, shape=shape, dtype=dtype, external=[("/etc/passwd", 0, 1 << 20)])
    elif kind == 2:
        virtual = h5py.VirtualLayout(shape=shape, dtype=dtype)
        virtual[...] = h5py.VirtualSource("sound.h5", "/objects", shape=shape)
        new = parent.create_virtual_dataset(name, virtual)
    elif kind == 3:
        new = parent.create_dataset(name, data=rng.choice((5, "text", np.zeros((3, 3, 3)), h5py.Empty("f8"))))
    elif kind == 4:
        new = parent.create_dataset(name, data=np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]))
    elif kind == 5:
        new = parent.create_dataset(
            name, shape=shape, dtype=rng.choice((">f4", "<i8", "S7", "V3", "f2")), chunks=True
        )
    elif kind == 6:
        new = parent.create_dataset(name, shape=(1 << 30, 1 << 30), dtype="f8", chunks=(64, 64))
    elif kind == 7:
        new = parent.create_group(name)
    else:
        new = parent.create_dataset(
            name, shape=shape, dtype=dtype, chunks=True, maxshape=(None,) * len(shape), compression="lzf"
        )
    for attribute, value in attributes.items():
        new.attrs[attribute] = value


def _resize(rng: random.Random, file: h5py.File, node: Any) -> None:
    if isinstance(node, h5py.Dataset) and node.chunks:
        node.id.write_direct_chunk(
            (0,) * len(node.shape), os.urandom(rng.choice((0, 1, 100, 5000))), rng.choice((0, 1, 255))
        )


_EDITS = (
    *(_set_attribute, _set_attribute, _set_attribute, _edit_document, _edit_document, _delete, _add_link),
    *(_rename, _replace_dataset, _replace_dataset, _resize),
)


# ---- one case ------------------------------------------------------------------------------------


class Campaign:
    """Runs cases, and notes what they did.

    Parameters
    ----------
    findings
        Where what was found is kept.
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._place = Path(self._folder.name)
        self._sound: list[bytes] = []
        self.n_containers = self.n_commands = self.n_crashes = self.most_bytes = 0
        self.most_seconds = 0.0
        self.slowest = self.largest = ""
        self._prepare()

    def _prepare(self) -> None:
        # In a child: what is forked later must not have touched HDF5.
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            # The same seed makes the same cases, though keys and ids decide the order on disk.
            ids = random.Random(1)
            uuid.uuid4 = lambda: uuid.UUID(int=ids.getrandbits(128), version=4)
            with os.fdopen(writer, "wb") as stream:
                for content in [*sound_containers(self._place), _container_of_secrets(self._place)]:
                    stream.write(len(content).to_bytes(8, "little") + content)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            while head := stream.read(8):
                self._sound.append(stream.read(int.from_bytes(head, "little")))
        os.waitpid(pid, 0)
        self._secret = self._sound.pop()
        import simarchive.storage.evaluator_directory
        import simarchive.storage.merging  # noqa: F401
        from simarchive import Substance

        for name in (
            "info",
            "ls",
            "show",
            "query",
            "extract",
            "cat",
            "diff",
            "verify",
            "merge",
            "subset",
            "export",
        ):
            with (
                contextlib.suppress(SystemExit),
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                main([name, "--help"])
        Substance.from_components("O")
        # What is imported where it is used is imported once, not in each child.
        for stored in (simulation("a"), equilibration("a"), free_energy(1.0)):
            type(stored).from_document(
                documents.decode(documents.encode(stored.to_document()).text, _zeros), 1
            )
            stored.index_values()
            stored.validate()

    def close(self) -> None:
        """Remove the sound containers."""
        self._folder.cleanup()

    def run(self, seed: str, seconds: float, n_cases: int = 0) -> None:
        """Run so many cases, or as many as the time allows."""
        end = time.monotonic() + seconds
        for number in range(n_cases) if n_cases else itertools.count():
            if not n_cases and time.monotonic() > end:
                return
            self.run_case(f"{seed}/{number}")
            if (number + 1) % 100 == 0:
                print(self.summary(), flush=True)

    def summary(self) -> str:
        """Return in a line what was done so far, and how much time and memory it took at most."""
        return (
            f"containers: {self.n_containers} cases, {self.n_commands} commands,"
            f" {len(self.findings.seen)} findings, {self.n_crashes} crashes of HDF5 (isolated: exit 18),"
            f" at most {self.most_seconds:.1f} s of work for a command"
            f" ({self.slowest}) and {self.most_bytes / 1e6:.0f} MB for a process ({self.largest})"
        )

    def run_case(self, case: str) -> None:
        """Make the container of a case, and run all commands on it."""
        rng = random.Random(case)
        base = rng.choice(self._sound)
        how = rng.random()
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            path = Path(folder) / FILE
            path.write_bytes(base)
            if how < 0.6:
                self._in_child(lambda: edit(rng, path))
            if how > 0.5:
                path.write_bytes(mutate(rng, path.read_bytes(), self._sound, n=rng.choice((1, 1, 2, 8, 30))))
            content = path.read_bytes()
        self.run_content(content, case)

    def run_content(self, content: bytes, case: str) -> None:
        """Run all commands on a container."""
        self.run_prepared(lambda path: path.write_bytes(content), case)

    def run_prepared(self, prepare: Callable[[Path], object], case: str) -> bool:
        """Run all commands on a container that `prepare` makes, in a child, where it is told.

        Returns whether it could make it: HDF5 refuses some things.

        Beside it lies the container `sound.h5`, and in ``../outside`` what nobody may read or change: a file
        ``secret`` and a container ``other.h5``, both full of `SECRET`.
        """
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            root = Path(folder)
            for name in ("work", "tmp", "home", "outside"):
                (root / name).mkdir()
            (root / "outside" / "secret").write_bytes(SECRET * 200)
            (root / "outside" / "other.h5").write_bytes(self._secret)
            (root / "work" / "sound.h5").write_bytes(self._sound[1])
            outside = _snapshot(root / "outside")
            path = root / "work" / FILE
            is_made = self._in_child(lambda: prepare(path))
            content = (
                path.read_bytes() if path.is_file() and path.stat().st_size < _LARGE_BLOCKS * 512 else b""
            )
            self._watch(root, content, case)
            strange = [
                place
                for place in _files_below(root)
                if place.parts[0] not in ("work", "outside")
                and not any(part.startswith(_MAY_STAY) for part in place.parts)
            ]
            if strange or _snapshot(root / "outside") != outside:
                self._note("file outside", f"{case}\n{strange}", content)
            told = [place for place in _files_below(root / "work") if _holds(root / "work" / place, SECRET)]
            if told:
                self._note("secret", f"{case}\n{told}", content)
        return is_made

    @staticmethod
    def _in_child(action: Callable[[], object]) -> bool:
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            with contextlib.suppress(BaseException):
                action()
                os._exit(0)
            os._exit(1)
        return os.waitpid(pid, 0)[1] == 0

    def _note(self, kind: str, what: str, content: bytes) -> None:
        self.findings.add("container", kind, what, content, ".h5")

    def _watch(self, root: Path, content: bytes, case: str) -> None:
        self.n_containers += 1
        keys, n_begun, code = self._watch_child(root, content, case, _DEFAULT_KEYS, None)
        if code < 0:
            # HDF5 itself crashed, which nothing but a process of its own can contain.
            self.n_crashes += 1
            _, _, code = self._watch_child(root, content, case, keys, max(n_begun - 2, 0))
            if code < 0:
                self._note("crash", f"{case}\nin a command that was isolated: exit {code}", content)

    def _watch_child(
        self, root: Path, content: bytes, case: str, keys: tuple[str, str], isolated_from: int | None
    ) -> tuple[tuple[str, str], int, int]:
        """Watch a child; return the keys that it found, how many commands it began, and its exit code."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            _be_the_child(root, writer, keys, isolated_from)
        os.close(writer)
        n_begun = 0
        said, spent, doing, text = time.monotonic(), 0.0, "start", b""
        while True:
            ready, _, _ = select.select([reader], [], [], 1.0)
            if not ready:
                # The machine may have other things to do: what counts is the work, or that there is none.
                if _cpu_seconds(pid) - spent < MOST_SECONDS and time.monotonic() - said < _MOST_ASLEEP_S:
                    continue
                os.kill(pid, signal.SIGKILL)
                break
            piece = os.read(reader, 1 << 16)
            if not piece:
                break
            said, text = time.monotonic(), text + piece
            spent = _cpu_seconds(pid)
            *lines, text = text.split(b"\n")
            for line in lines:
                what = json.loads(line)
                doing = what.get("begin", doing)
                n_begun += "begin" in what
                keys = tuple(what["keys"]) if "keys" in what else keys
                if what.get("took", 0.0) > self.most_seconds:
                    self.most_seconds, self.slowest = what["took"], f"{case} {doing}"
                if what.get("took", 0.0) > MOST_SECONDS:
                    self._note("hang", f"{case}\n{doing} took {what['took']} s", content)
                if "kind" in what:
                    self._note(what["kind"], f"{case}\n{what['command']}\n{what['what']}", content)
        os.close(reader)
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.n_commands += n_begun
        if usage.ru_maxrss * 1024 > self.most_bytes:
            self.most_bytes, self.largest = usage.ru_maxrss * 1024, case
        if not ready:
            self._note("hang", f"{case}\n{doing} took more than {MOST_SECONDS:g} s", content)
            return keys, n_begun, 0
        if code > 0:
            self._note("the fuzzer", f"{case}\n{doing}: exit {code}", content)
        elif usage.ru_maxrss * 1024 > MOST_BYTES:
            self._note("memory", f"{case}\n{usage.ru_maxrss} kB", content)
        return keys, n_begun, code


def _cpu_seconds(pid: int) -> float:
    """Return how long a process has worked; field 14 and 15 of proc(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _files_below(folder: Path) -> list[Path]:
    return sorted(
        path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink() or path.is_file()
    )


def _snapshot(folder: Path) -> list[tuple[object, ...]]:
    """Return what is in a folder, as far as it can be changed from outside."""
    found: list[tuple[object, ...]] = []
    for place in sorted(folder.rglob("*")):
        status = place.lstat()
        content = place.read_bytes() if place.is_file() else b""
        found.append((place.name, status.st_ino, status.st_mode, status.st_mtime_ns, content))
    return found


def _holds(path: Path, content: bytes) -> bool:
    if path.is_symlink() or path.stat().st_blocks > _LARGE_BLOCKS:
        return False
    with path.open("rb") as file:
        end = b""
        for _ in range(64):  # MB; what is sparse holds nothing further on
            piece = file.read(1 << 20)
            if content in end + piece:
                return True
            end = piece[-len(content) :]
    return False


def _be_the_child(root: Path, writer: int, keys: tuple[str, str], isolated_from: int | None) -> None:
    try:
        os.chdir(root / "work")
        os.environ.update(TMPDIR=str(root / "tmp"), HOME=str(root / "home"))
        tempfile.tempdir = None
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
        _say_what_is_opened(root, writer)
        if isolated_from is None:
            keys = _keys(writer)
            _say(writer, keys=keys)
        for arguments in commands(*keys)[isolated_from or 0 :]:
            _run(arguments if isolated_from is None else _isolated(arguments), writer)
    except BaseException:
        _say(writer, kind="the fuzzer", command="", what=traceback.format_exc())
    os._exit(0)


def _keys(writer: int) -> tuple[str, str]:
    _, out = _run(("ls", FILE, "--json"), writer)
    keys: list[str] = [*_DEFAULT_KEYS]
    with contextlib.suppress(ValueError, KeyError, TypeError):
        keys = [row["key"] for row in json.loads(out)["objects"]] or keys
    return keys[0], keys[-1]


def _isolated(arguments: tuple[str, ...]) -> tuple[str, ...]:
    name, *others = (argument for argument in arguments if argument not in ("--isolated", "--no-isolated"))
    return (name, *others) if name == "import" else (name, "--isolated", *others)


def _say(writer: int, **what: object) -> None:
    os.write(writer, json.dumps(what).encode() + b"\n")


def _run(arguments: tuple[str, ...], writer: int) -> tuple[int, str]:
    """Run a command in this process; say what is not as it has to be."""
    line = " ".join(arguments)
    _say(writer, begin=line)
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace"), io.StringIO()
    sys.stdout, sys.stderr = out, err
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    try:
        main(arguments)
    except SystemExit as leaving:
        code = leaving.code
    except BaseException:
        _say(writer, kind="escaped", command=line, what=traceback.format_exc()[-6000:])
        code = None
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    _say(writer, took=time.process_time() - begin)
    out.flush()
    out_text, err_text = out.buffer.getvalue().decode("utf-8", "replace"), err.getvalue()
    if code == 70 or "Traceback (most recent" in err_text:
        _say(writer, kind="foreign exception", command=line, what=err_text[-6000:])
    elif SECRET in out.buffer.getvalue() or SECRET.decode() in err_text:
        _say(writer, kind="secret", command=line, what="it is printed")
    elif code not in (*range(20), 130, 141):
        _say(writer, kind="exit code", command=line, what=f"exit {code}")
    elif arguments[0] != "cat" and (strange := _strange_lines(out_text + err_text)):
        _say(writer, kind="control characters", command=line, what=f"{strange[0]}\nit is printed")
    elif arguments[0] == "ls" and "--json" in arguments and code == 0:
        json.loads(out_text)
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > MOST_BYTES > grown * 1024:
        _say(writer, kind="memory", command=line, what=f"{arguments[0]} took more than 1 GB")
    return code, out_text


def _strange_lines(text: str) -> list[str]:
    """Return the lines of a text with characters that command a terminal, escaped."""
    lines = text.replace("\t", " ").split("\n")
    return [ascii(line) for line in lines if any(unicodedata.category(letter) == "Cc" for letter in line)]


def _say_what_is_opened(root: Path, writer: int) -> None:
    """Say which files outside of `root` are opened for writing, made, renamed or removed."""
    inside = str(root)

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, str | bytes) or not (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in (
            "os.mkdir",
            "os.remove",
            "os.rename",
            "os.link",
            "os.symlink",
            "os.rmdir",
            "os.truncate",
        ):
            path = arguments[1] if event in ("os.rename", "os.link", "os.symlink") else arguments[0]
            if not isinstance(path, str | bytes) or arguments[-1] not in (-1, path, None):
                return
        else:
            return
        place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - a link stays
        if (
            not place.startswith(inside)
            and not place.startswith(("/dev/", "/proc/self/"))
            and "__pycache__" not in place
        ):
            _say(writer, kind="file outside", command=event, what=place)

    sys.addaudithook(hear)
