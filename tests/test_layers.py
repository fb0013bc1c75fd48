"""Does data flow one way? No module of `lib` imports from one further down, none imports in a circle, and every one
says which question it answers.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from lib import REPOSITORY

# From the ground floor up: a module may import from its own room and from those to the left. What has no floor of its
# own is refused, so a new room is placed here first.
FLOORS = (
    {"lib"},
    {"errors", "files", "params", "environment", "progress", "target", "targets", "audio", "metrics", "results"},
    {
        "text",
        "normalise",
        "characters",
        "numberwords",
        "quantities",
        "readings",
        "features",
        "prosody",
        "psola",
        "augment",
    },
    {"corpora"},
    {"zoo"},
    {"graphs"},
    {"systems"},
    {"training"},
    {"optimize"},
    {"deploy"},
    {"measure"},
    {"studies"},
    {"report"},
    {"listening"},
    {
        "zoo_card",
        "adapt",
        "sharpen",
        "publish",
        "publish_student",
        "evaluation_card",
        "evaluation_set",
        "runner",
        "recorded",
        "speak",
    },
)
LONGEST = 120  # columns


def name_of(path: Path) -> str:
    """lib/corpora/base.py -> lib.corpora.base"""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of lib by its name."""
    return {name_of(path): path for path in sorted((REPOSITORY / "lib").rglob("*.py"))}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def running_imports(node: ast.AST):
    """The import statements of a tree, those inside functions too, but none under `if TYPE_CHECKING`."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for child in node.orelse:
            yield from running_imports(child)
        return
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from running_imports(child)


def imported(path: Path, known: dict[str, Path], *, at_load: bool = False) -> set[str]:
    """The modules of lib that a file imports, inside functions too; at_load: only those that loading it needs."""
    parsed = tree(path)
    statements = list(running_imports(parsed))
    if at_load:
        functions = [
            n for n in ast.walk(parsed) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        ]
        later = {id(statement) for function in functions for statement in running_imports(function)}
        statements = [statement for statement in statements if id(statement) not in later]
    names = set()
    for statement in statements:
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names if alias.name.split(".")[0] == "lib"}
            continue
        package = name_of(path).split(".")
        package = package if path.name == "__init__.py" else package[:-1]
        base = ".".join([*package[: len(package) - statement.level + 1], *filter(None, [statement.module])])
        origin = base if statement.level else statement.module
        if origin.split(".")[0] != "lib":
            continue
        for alias in (
            statement.names
        ):  # `from lib.corpora import base` imports a module, `from lib.audio import x` a name
            names.add(f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in known else origin)
    return names


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "lib"


def floor(module: str) -> int:
    floors = [number for number, rooms in enumerate(FLOORS) if room(module) in rooms]
    assert floors, f"{module} has no floor: place {room(module)!r} in FLOORS"
    return floors[0]


def test_every_module_has_a_floor():
    assert {room(name) for name in modules()} <= set().union(*FLOORS)
    assert [floor(name) for name in modules()]


def test_nothing_imports_upward():
    upward = {}
    for name, path in modules().items():
        above = {other for other in imported(path, modules()) if floor(other) > floor(name)}
        if above:
            upward[name] = above
    assert upward == {}


def test_no_two_modules_need_each_other():
    """Inside a room as well, and counting imports inside functions, which only hide a circle. A package's `__init__`
    may load its own modules when a function asks for one: that is how its tables work.
    """
    graph = {name: imported(path, modules()) - {name} for name, path in modules().items()}
    for name in graph:  # tables of a package, filled in at call time
        if modules()[name].name == "__init__.py":
            graph[name] = {other for other in graph[name] if not other.startswith(f"{name}.")} | imported(
                modules()[name], modules(), at_load=True
            ) - {name}
    assert circles(graph) == []


def circles(graph: dict[str, set[str]]) -> list[frozenset[str]]:
    """The strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = frozenset(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(component) > 1:
                components.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return components


def test_every_module_says_which_question_it_answers():
    silent = [name for name, path in modules().items() if not ast.get_docstring(tree(path))]
    assert silent == []


def test_no_line_is_wider_than_a_thought():
    files = [path for folder in ("lib", "tests") for path in (REPOSITORY / folder).rglob("*.py")]
    wide = {
        str(path.relative_to(REPOSITORY))
        for path in files
        if any(len(line) > LONGEST for line in path.read_text(encoding="utf-8").splitlines())
    }
    assert not wide


@pytest.mark.parametrize(
    "source, expected",
    [
        ("import lib.audio", {"lib.audio"}),
        ("from lib import audio, REPOSITORY", {"lib.audio", "lib"}),
        ("def f():\n    from lib.corpora import base", {"lib.corpora.base"}),
        ("from . import base", {"lib.corpora.base"}),
        ("from ..audio import loudness", {"lib.audio"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lib.audio import x", set()),
        ("import typing\nif typing.TYPE_CHECKING:\n    pass\nelse:\n    import lib.audio", {"lib.audio"}),
        ("import numpy\nfrom library import x", set()),
    ],
)
def test_imports_are_seen_wherever_they_stand(source, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("test_layers.REPOSITORY", tmp_path)
    path = tmp_path / "lib" / "corpora" / "new.py"
    path.parent.mkdir(parents=True)
    path.write_text(source)
    known = dict.fromkeys(("lib", "lib.audio", "lib.corpora", "lib.corpora.base"), path)
    assert imported(path, known) == expected


def test_a_circle_is_seen():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}
    assert circles(graph) == [frozenset("abc")]
