"""Measures of the package's structure: files that a fit visits, import chains, sizes, lines.

    python -m benchmarks.house

`tests/test_house.py` holds the numbers to their bounds.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1] / "pymackay"
NAME = PACKAGE.name
_NO_CODE = frozenset(
    [
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    ]
)


def visited_files(formula: str = "Reaction ~ Days + (Days | Subject)") -> dict[str, set[str]]:
    """Return the files of the package whose functions one warm `lmer` on sleepstudy calls.

    Returns
    -------
    dict of str to set of str
        File, relative to the package, to the names of its functions that were called.
    """
    import pymackay as pm

    sleep = pm.load_data("sleepstudy")
    pm.lmer(formula, sleep)
    calls: dict[str, set[str]] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(PACKAGE):
                name = str(path.relative_to(PACKAGE))
                calls.setdefault(name, set()).add(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        pm.lmer(formula, sleep)
    finally:
        sys.setprofile(None)
    return calls


def imports() -> dict[str, set[str]]:
    """Return each module's imports at module level, those for type checkers included.

    An ``__init__`` only hands names on: it is no link of a chain.
    """
    files = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    modules = {_module(path): path for path in files}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        targets = {target for node in ast.walk(tree) for target in _targets(node, modules)}
        late = {
            target
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef)
            for node in ast.walk(function)
            for target in _targets(node, modules)
        }
        graph[name] = targets - late - {name}
    return graph


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """Return the longest chain of imports, first importer first.

    Raises
    ------
    ValueError
        If modules import each other in a circle.
    """
    open_: list[str] = []

    @cache
    def chain(module: str) -> tuple[str, ...]:
        if module in open_:
            raise ValueError(f"a circle of imports: {' -> '.join([*open_, module])}")
        open_.append(module)
        longest = max((chain(target) for target in sorted(graph[module])), key=len, default=())
        open_.pop()
        return (module, *longest)

    return list(max((chain(module) for module in sorted(graph)), key=len))


def first_look() -> dict[str, int]:
    """Return the number of files in each folder, without `__init__.py`."""
    folders: dict[str, int] = {}
    for path in PACKAGE.rglob("*.py"):
        if path.name != "__init__.py":
            folder = str(path.parent.relative_to(PACKAGE.parent))
            folders[folder] = folders.get(folder, 0) + 1
    return dict(sorted(folders.items(), key=lambda item: -item[1]))


@dataclass(frozen=True)
class Lines:
    """Lines of Python files: all, those with code, and those of docstrings.

    The others are blank, or hold a comment alone.
    """

    all: int
    code: int
    docstrings: int

    @classmethod
    def of(cls, text: str) -> Lines:
        """Count the lines of one file."""
        docstrings: set[int] = set()
        for node in ast.walk(ast.parse(text)):
            body = getattr(node, "body", None)
            for statement in body if isinstance(body, list) else []:
                if _is_text(statement):
                    docstrings.update(range(statement.lineno, statement.end_lineno + 1))
        code: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in _NO_CODE:
                code.update(range(token.start[0], token.end[0] + 1))
        return cls(len(text.splitlines()), len(code - docstrings), len(docstrings))

    def __add__(self, other: Lines) -> Lines:
        """Count the lines of both."""
        return Lines(
            self.all + other.all, self.code + other.code, self.docstrings + other.docstrings
        )


def lines() -> dict[str, Lines]:
    """Return the lines of each room of the package, most first."""
    rooms: dict[str, Lines] = {}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        text = path.read_text(encoding="utf-8")
        rooms[room] = rooms.get(room, Lines(0, 0, 0)) + Lines.of(text)
    return dict(sorted(rooms.items(), key=lambda item: -item[1].all))


def casts() -> list[str]:
    """Return the places that check the type of a solver or its cross-products."""
    pattern = re.compile(
        r"as_gram\(|cast\(.*(Gram|Solver|Iterative)|"
        r"isinstance\([^()]*(\([^()]*\))?[^()]*(Gram|Iterative\b|Solver|Crossed|OneBlock|OneTerm)"
    )
    places = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.search(line):
                places.append(f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}")
    return places


def _module(path: Path) -> str:
    return ".".join([NAME, *path.relative_to(PACKAGE).with_suffix("").parts])


def _targets(node: ast.AST, modules: dict[str, Path]) -> set[str]:
    """Return the modules of the package that an import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        inside = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [name if name in modules else node.module for name in inside]
    else:
        return set()
    return {name for name in names if name in modules}


def _is_text(statement: Any) -> bool:
    """Whether a statement is a text alone: a docstring, or one below an attribute."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def main() -> None:
    """Print the numbers."""
    graph = imports()
    visited = visited_files()
    fullest, count = next(iter(first_look().items()))
    chain = longest_chain(graph)
    print(f"files that lmer on sleepstudy visits: {len(visited)}")
    print(f"  functions: {sum(map(len, visited.values()))}")
    for name in sorted(visited):
        print(f"  {name}: {len(visited[name])}")
    print(f"longest chain of imports: {len(chain)}")
    print("  " + " -> ".join(name.removeprefix(f"{NAME}.") for name in chain))
    print(f"fullest folder: {fullest}, {count} files")
    rooms = lines()
    total = sum(rooms.values(), Lines(0, 0, 0))
    for room, count in {"lines": total, **rooms}.items():
        indent = "" if count is total else "  "
        print(f"{indent}{room}: {count.all:,}, code {count.code:,}, docs {count.docstrings:,}")
    print(f"casts and isinstance on solvers and cross-products: {len(casts())}")
    for place in casts():
        print(f"  {place}")


if __name__ == "__main__":
    main()
