"""What reads bytes from outside: each target takes any bytes, and raises errors of simarchive or none."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from h5py import h5a, h5s, h5t

from simarchive import HDF5Storage, StorageError
from simarchive.chemistry import units
from simarchive.codecs import codec_named, registry
from simarchive.codecs.trajectory import Trajectory
from simarchive.codecs.trajectory_files.repetition import find_repetition
from simarchive.container import documents, nodes
from simarchive.data.registry import data_class_named
from simarchive.journal import LOG_SUFFIX
from simarchive.queries.expression import parse_query
from simarchive.storage import evaluator_json
from simarchive.testing.sample_objects import simulation

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "stored_data"


@dataclass(frozen=True)
class Target:
    """One way in.

    Attributes
    ----------
    run
        Reads any bytes.
    seeds
        Makes sound bytes to start from.
    words
        What the language of the bytes is made of.
    allowed
        The errors that it may raise.
    """

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()
    allowed: tuple[type[BaseException], ...] = (StorageError,)


JSON_WORDS = (
    *(b'{}[]",:', b"null", b"true", b"NaN", b"Infinity", b"1e999", b"-0.0", b"1" * 400, b"[" * 3000),
    *(b'{"a":' * 2000, b"\\ud800", b"\\u0000", b"\xff\xfe", b"1" * 5000, b'""', b"{}", b"[]", b"-1", b"[[]]"),
)


# ---- documents -----------------------------------------------------------------------------------


def read_document(data: bytes) -> None:
    """Decode a document, and make an object of it."""
    tree = documents.decode(data.decode("utf-8", "replace"), _variable)
    data_class = data_class_named(type(simulation()).data_class_name)
    assert data_class is not None
    stored = data_class.from_document(tree, 1)
    stored.validate()
    documents.encode(stored.to_document())
    stored.index_values()


def _variable(declared: documents.DeclaredVariable) -> np.ndarray[object, object]:
    return np.zeros([min(length, 4) for length in declared.shape], declared.dtype)


def _documents() -> list[bytes]:
    text = documents.encode(simulation().to_document()).text.encode()
    return [text, text.replace(b'"@variable"', b'"@array"'), b'{"@float":"NaN"}', b'{"a":{"@@b":1}}']


DOCUMENT_WORDS = (
    *JSON_WORDS,
    *(b'{"@variable":{"name":"a","dtype":"<f8","shape":[60,1]}}', b'{"@float":"NaN"}', b'"@variable"'),
    *(b'{"@array":{"dtype":"<f8","shape":[2,1],"data":[1.0,2.0]}}', b'"@array"', b'"base64":"AAAA"', b'"O"'),
    *(b'"<U9999999"', b'"|V8"', b'"<M8[s]"', b"[9999999,9999999]", b"[-1]", b'"(2,3)f8"', b'"f8,i4"'),
)


# ---- JSON of Evaluator ---------------------------------------------------------------------------


def read_evaluator_json(data: bytes) -> None:
    """Make an object, and its JSON, of what Evaluator wrote."""
    typed = evaluator_json.parse_typed(data)
    evaluator_json.check_characters(typed, data)
    stored = evaluator_json.object_of(typed, with_files=True)
    stored.validate()
    stored.index_values()
    stored.to_document()


def _evaluator_objects() -> list[bytes]:
    files = sorted(EXAMPLES.glob("*.json"), key=lambda path: path.stat().st_size)
    return [path.read_bytes() for path in files if path.stat().st_size < 40_000][:8]


# ---- texts ---------------------------------------------------------------------------------------


def read_expression(data: bytes) -> None:
    """Parse a query."""
    parse_query(data.decode("utf-8", "replace"))


EXPRESSIONS = [
    b"substance=O|CO", b'"substance=C{sol}{n=1}|O"', b"contains=O excludes=CO", b"temperature=290..310K",
    b"pressure=1atm", b"phase=liquid,gas", b"molecules>=100 limit=10", b"state=298.15K@1atm", b"P=none",
    b"class=equilibration order_by=-temperature", b"phase!=gas", b"components_of=O|CO", b"T>=300K P=..2bar",
]  # fmt: skip


def read_unit(data: bytes) -> None:
    """Look up units and quantities, and write them in the long form."""
    text = data.decode("utf-8", "replace")
    for read in (units.unit_named, units.quantity_named, units.long_unit_text):
        with contextlib.suppress(StorageError):
            read(text)


UNITS = [
    b"298.15 K", b"kilojoule / mole", b"gram / milliliter", b"1 atm", b"nanometer ** 3", b"kJ mol-1",
    b"1e5 Pa", b"dimensionless", b"(kelvin * mole) ** -1", b"degC", b"delta_degC", b"1.0 g/mL",
]  # fmt: skip


# ---- the log -------------------------------------------------------------------------------------


def recover(data: bytes) -> None:
    """Open a container beside a log, for reading and for changes."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "a.h5"
        path.write_bytes(_hot()[0])
        Path(f"{path}{LOG_SUFFIX}").write_bytes(data)
        for mode in ("r", "a"):
            try:
                with HDF5Storage(path, mode) as backend:
                    backend.verify()
                    list(backend.headers())
            except StorageError:
                pass


@functools.cache
def _hot() -> tuple[bytes, bytes]:
    """Return a container and its log, as a killed process left them."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "a.h5"
        with HDF5Storage(path) as backend:
            backend.store_force_field(_force_field("first"))
        pid = os.fork()
        if pid == 0:
            backend = HDF5Storage(path)
            for text in ("second", "third"):
                backend.store_force_field(_force_field(text))
            os._exit(0)
        os.waitpid(pid, 0)
        return path.read_bytes(), Path(f"{path}{LOG_SUFFIX}").read_bytes()


def _force_field(text: str) -> object:
    from simarchive import SmirnoffForceFieldSource

    return SmirnoffForceFieldSource(f"<SMIRNOFF version='0.3'><!-- {text} --></SMIRNOFF>")


# ---- chunks --------------------------------------------------------------------------------------


def _codecs() -> list[str]:
    return sorted(registry._CODECS)


def decode_chunk(data: bytes) -> None:
    """Decode a chunk; the first bytes say by which codec, with which mask, to what length."""
    if len(data) < 4:
        return
    codec = codec_named(_codecs()[data[0] % len(_codecs())])
    length = int.from_bytes(data[2:4], "little") * codec.element_size
    codec.decode(memoryview(data[4:]), data[1], memoryview(bytearray(length)))


def _chunks() -> list[bytes]:
    frames = next(EXAMPLES.rglob("trajectory.dcd")).read_bytes()[:40_000]
    walk = np.random.default_rng(1).normal(scale=0.1, size=(20, 100)).cumsum(axis=0).astype("<f4").tobytes()
    seeds = []
    for number, name in enumerate(_codecs()):
        for chunk in (walk, b"ATOM      1  O   HOH\n" * 200, bytes(4000), frames):
            codec = codec_named(name)
            if name == "trajectory":
                layout = find_repetition(frames)
                assert layout is not None
                codec, chunk = Trajectory(layout), frames
            chunk = chunk[: len(chunk) // 4 * 4]
            encoded = codec.encode(memoryview(chunk))
            length = (len(chunk) // codec.element_size).to_bytes(2, "little")
            seeds.append(bytes([number, encoded.filter_mask & 255]) + length + bytes(encoded.stored))
    return seeds


# ---- attributes ----------------------------------------------------------------------------------


def read_attribute(data: bytes) -> None:
    """Read an attribute of any type and shape, as every reader of attributes does."""
    head, body = data[:4].ljust(4, b"\0"), data[4:]
    with h5py.File(io.BytesIO(), "w") as file:
        kind = _kinds()[head[0] % len(_kinds())]
        space = _spaces(head[2])[head[1] % len(_spaces(0))]
        attribute = h5a.create(file.id, b"a", kind, space)
        n_bytes = kind.get_size() * space.get_select_npoints()
        if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str():
            if space.get_simple_extent_type() != h5s.NULL and space.get_select_npoints():
                texts = np.full(space.shape, body.decode("utf-8", "replace").replace("\0", ""), object)
                attribute.write(texts, mtype=kind)
        elif n_bytes and not kind.detect_class(h5t.REFERENCE) and not kind.detect_class(h5t.VLEN):
            content = np.frombuffer(
                (body * (n_bytes // max(len(body), 1) + 1)).ljust(n_bytes, b"\0")[:n_bytes], "V1"
            )
            raw = np.frombuffer(content.tobytes(), np.dtype(("V", kind.get_size()))).reshape(space.shape)
            attribute.write(np.ascontiguousarray(raw), mtype=kind)
        for read in _READERS:
            try:
                read(file.id)
            except (StorageError, *nodes.UNREADABLE):
                pass


_READERS: tuple[Callable[[object], object], ...] = (
    lambda node: nodes.read_text(node, "a"),  # type: ignore[arg-type]
    lambda node: nodes.find_text(node, "a"),  # type: ignore[arg-type]
    lambda node: nodes.open_fixed_text(node, "a").read(),  # type: ignore[arg-type]
    lambda node: nodes.read_integer(node, "a"),  # type: ignore[arg-type]
    lambda node: nodes.read_numbers(node, "a"),  # type: ignore[arg-type]
    lambda node: nodes.read_numbers(node, "a", n_axes=2),  # type: ignore[arg-type]
    lambda node: nodes.read_numbers(node, "a", size=3),  # type: ignore[arg-type]
)


@functools.cache
def _kinds() -> list[h5t.TypeID]:
    dtypes = [
        "i1", "<u8", ">i4", "<f8", ">f4", "f2", "S1", "S9", "V5", "?", "c16", "(3,)i4", "(2,2)S3",
        [("a", "i4"), ("b", "f8")], [("a", "S4")],
        h5py.string_dtype(), h5py.string_dtype("ascii"), h5py.string_dtype("utf-8", 7), h5py.ref_dtype,
        h5py.vlen_dtype("i4"), h5py.enum_dtype({"A": 1, "B": 2}),
    ]  # fmt: skip
    return [h5t.py_create(np.dtype(dtype), logical=True) for dtype in dtypes]


def _spaces(n: int) -> list[h5s.SpaceID]:
    shapes = [(n,), (n % 16, 3), (1,), (0,), (1, 1), (2, 2, 2)]
    return [h5s.create(h5s.SCALAR), h5s.create(h5s.NULL), *map(h5s.create_simple, shapes)]


def _attributes() -> list[bytes]:
    return [bytes([kind, space, 3, 0]) + b"some text" for kind in range(len(_kinds())) for space in range(8)]


TARGETS: dict[str, Target] = {
    "documents": Target(read_document, _documents, DOCUMENT_WORDS),
    "evaluator-json": Target(read_evaluator_json, _evaluator_objects, (*JSON_WORDS, b'"@type"')),
    "expressions": Target(
        read_expression, lambda: list(EXPRESSIONS), (*EXPRESSIONS, b"{", b"}", b"|", b"..", b'"', b"9" * 5000)
    ),
    "units": Target(read_unit, lambda: list(UNITS), (*UNITS, b"**", b"(" * 500, b"9" * 5000, b"1e999", b"^")),
    "log": Target(recover, lambda: [_hot()[1]]),
    "chunks": Target(decode_chunk, _chunks, (), (StorageError, ValueError)),
    "attributes": Target(read_attribute, _attributes),
}
