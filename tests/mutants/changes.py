"""Small changes to the source, one at a time: those of cosmic-ray, and four kinds of our own.

cosmic-ray changes operators, numbers, keywords and conditions. What fails without a word in a storage engine
is more often something left out: a call (of a sync), one side of an `or`, a guard, the raising of an error.
"""

from __future__ import annotations

import ast
import difflib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cosmic_ray.plugins
import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from parso.python.tree import Keyword

Position = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Change:
    """One change: path below the root of the project, line, kind, and the text before and after."""

    path: str
    line: int
    kind: str
    before: str
    after: str

    def diff(self) -> str:
        """Return the change as a unified diff."""
        lines = difflib.unified_diff(
            self.before.splitlines(), self.after.splitlines(), self.path, self.path, n=2, lineterm=""
        )
        return "\n".join(lines)


class _Own(Operator):
    """What the kinds of our own have in common."""

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        for _ in range(self.count(node)):
            yield node.start_pos, node.end_pos

    def count(self, node: Any) -> int:
        """Return in how many ways a node can be changed."""
        raise NotImplementedError


def _replacement(node: Any, code: str) -> Any:
    """Return `code` as a node that stands in the place of another, behind the same spaces."""
    return parso.parse(node.get_first_leaf().prefix + code)


class DropOperand(_Own):
    """`a or b` becomes `a`, or `b`; the same for `and`."""

    def count(self, node: Any) -> int:
        return (len(node.children) + 1) // 2 if node.type in ("or_test", "and_test") else 0

    def mutate(self, node: Any, index: int) -> Any:
        kept = [child for place, child in enumerate(node.children[::2]) if place != index]
        word = f" {node.children[1].value} "
        return _replacement(node, word.join(child.get_code(include_prefix=False) for child in kept))


class DropCall(_Own):
    """A call whose result nobody uses is left out."""

    def count(self, node: Any) -> int:
        return int(
            node.type == "atom_expr"
            and node.parent.type == "simple_stmt"
            and node.children[-1].type == "trailer"
            and node.children[-1].children[0].value == "("
        )

    def mutate(self, node: Any, index: int) -> Any:
        return _replacement(node, "pass")


class DropRaise(_Own):
    """An error is not raised."""

    def count(self, node: Any) -> int:
        return int(node.type == "raise_stmt")

    def mutate(self, node: Any, index: int) -> Any:
        return _replacement(node, "pass")


class DropGuard(_Own):
    """What an `if` or `elif` guards never happens."""

    def count(self, node: Any) -> int:
        if node.type != "if_stmt":
            return 0
        return sum(isinstance(c, Keyword) and c.value in ("if", "elif") for c in node.children)

    def mutate(self, node: Any, index: int) -> Any:
        places = [
            place
            for place, child in enumerate(node.children)
            if isinstance(child, Keyword) and child.value in ("if", "elif")
        ]
        node.children[places[index] + 1] = parso.parse(" False")
        return node


OWN = (DropOperand, DropCall, DropRaise, DropGuard)


def operators() -> list[tuple[str, Operator]]:
    """Return every kind of change by name."""
    found = [(kind.__name__, kind()) for kind in OWN]
    for name in cosmic_ray.plugins.operator_names():
        kind = cosmic_ray.plugins.get_operator(name)
        if not kind.arguments():
            found.append((name.partition("/")[2], kind()))
    return found


def places_of(source: str) -> dict[tuple[int, int], list[tuple[str, Operator, int]]]:
    """Return what can be changed at each place of a module: kind, operator, and which occurrence."""
    places: dict[tuple[int, int], list[tuple[str, Operator, int]]] = {}
    nodes = list(ast_nodes(get_ast(source)))
    for kind, operator in operators():
        occurrence = 0
        for node in nodes:
            for start, _ in operator.mutation_positions(node):
                places.setdefault(start, []).append((kind, operator, occurrence))
                occurrence += 1
    return places


class _Meaning(ast.NodeTransformer):
    """Removes what changes nothing when the program runs: annotations and docstrings."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node

    def _body(self, node: Any) -> Any:
        self.generic_visit(node)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if node.body and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant):
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = _body


def _meaning(source: str) -> str | None:
    try:
        return ast.dump(_Meaning().visit(ast.parse(source)))
    except SyntaxError:
        return None


def differs(before: str, after: str | None) -> bool:
    """Return whether a change is a program, and another one than before."""
    return after is not None and _meaning(after) not in (None, _meaning(before))


class Sampler:
    """Draws changes at random: a module by its length, a place in it, then one change there."""

    def __init__(self, root: Path, seed: str) -> None:
        self._root, self._rng = root, random.Random(seed)
        self._drawn: set[tuple[str, tuple[int, int]]] = set()
        self._places = lru_cache(maxsize=None)(places_of)

    def draw(self, paths: list[str], count: int) -> list[Change]:
        """Return `count` changes to the modules at `paths`, each at another place."""
        rng = self._rng
        sources = {path: (self._root / path).read_text() for path in paths}
        lengths = [len(source) for source in sources.values()]
        found: list[Change] = []
        while len(found) < count:
            [path] = rng.choices(paths, lengths)
            source = sources[path]
            places = self._places(source)
            if not places:
                continue
            place = rng.choice(sorted(places))
            kind, operator, occurrence = rng.choice(places[place])
            if (path, place) in self._drawn:
                continue
            after = mutate_code(source, operator, occurrence)
            if differs(source, after):
                self._drawn.add((path, place))
                found.append(Change(path, place[0], kind, source, after))
        return found
