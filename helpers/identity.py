"""What decides a result, settings and data aside: the code that runs and the versions of libraries.

One identity serves the committed notebooks, sweeps and the store of networks. It is of the meaning of
the code: of syntax trees without comments and docstrings. It covers what is run and all that this
imports in turn, be it the course's or the reader's own. What is installed counts by its version.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from nbformat import NotebookNode


@dataclass(frozen=True)
class Identity:
    """``code``: a SHA-256, the same on every machine; ``versions``: of each library that is imported."""

    code: str
    versions: dict[str, str]


def of_notebook(notebook: NotebookNode, folder: str | Path | None = None) -> Identity:
    """Return the identity of a notebook. ``folder`` is where it lies, to find the reader's modules there."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    trees = [_parse_cell(cell.source) for cell in cells]
    generated = ["setup" in cell.metadata.get("tags", []) for cell in cells]  # counts by what it imports
    meanings = [_meaning(tree) for tree, skip in zip(trees, generated) if not skip]
    return _identify(meanings, [name for tree in trees for name in _imports(tree)], folder)


def of_module(name: str, folder: str | Path | None = None) -> Identity:
    """Return the identity of a module."""
    return _identify([], _parts(name), folder)


def code_hash(notebook: NotebookNode, folder: str | Path | None = None) -> str:
    """Return the SHA-256 of a notebook's code and of all that it imports, libraries aside."""
    return of_notebook(notebook, folder).code


def _identify(meanings, waiting, folder):
    specs, libraries, waiting = {}, set(), list(waiting)
    while waiting:
        name = waiting.pop(0)  # a package before what is in it
        top, _, rest = name.partition(".")
        if name in specs or top in sys.stdlib_module_names:
            continue
        spec = specs[name] = _find(name, specs, [str(folder or ""), os.getcwd()])
        if spec and top != "helpers" and {"site-packages", "dist-packages"} & set(_path(spec).parts):
            libraries.add(top)
        elif spec and spec.origin and spec.origin.endswith(".py"):
            waiting += _imports(_parse(_path(spec).read_bytes()), spec.parent)
    own = {
        name: _content(spec) for name, spec in specs.items() if spec and name.split(".")[0] not in libraries
    }
    everything = repr((meanings, sorted(own.items())))
    installed = {name for top in libraries for name in _distributions().get(top, [top])}
    return Identity(
        hashlib.sha256(everything.encode()).hexdigest(),
        {name: importlib.metadata.version(name) for name in sorted(installed)},
    )


def _find(name, specs, places):
    """Return the specification of a module, without importing it, or None."""
    parent = name.rpartition(".")[0]
    if parent:
        inside = specs.get(parent) and specs[parent].submodule_search_locations
        return PathFinder.find_spec(name, list(inside)) if inside else None
    try:  # where a kernel looks: its folder, then where Python does
        return PathFinder.find_spec(name, places) or importlib.util.find_spec(name)
    except ValueError:  # __main__
        return None


def _path(spec):
    return Path(spec.origin or next(iter(spec.submodule_search_locations)))


def _content(spec):
    """Return the meaning of a module, with the files that lie beside it in its package (a page, a style)."""
    path = _path(spec)
    if not spec.origin:
        return ""  # a folder without __init__.py
    beside = [
        (file.name, hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest())
        for file in sorted(path.parent.iterdir() if spec.parent else [])
        if file.is_file() and file.suffix not in (".py", ".pyc") and not file.name.startswith(".")
    ]
    content = path.read_bytes()
    return (
        _meaning(_parse(content)) if path.suffix == ".py" else hashlib.sha256(content).hexdigest(),
        beside,
    )


@functools.cache
def _distributions():
    return importlib.metadata.packages_distributions()


@functools.cache
def _parse(content):
    """Return a module's syntax tree without docstrings; of what is no Python, the text."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return ast.Constant(content)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
                del node.body[0]
    return tree


def _parse_cell(source):
    """Return the syntax tree of a cell, whose commands (``%matplotlib``, ``!ls``) IPython turns into calls."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:
        return ast.Constant(source)
    quiet = [ast.Constant(";")] if source.rstrip().endswith(";") else []  # shows no result
    return ast.Module([*tree.body, *quiet])


def _imports(tree: ast.AST, package: str = "") -> Iterator[str]:
    """Yield all that a piece of code may import, also in texts that are code: a magic's, a notebook's."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = (
                ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            )
            start = ".".join(part for part in (start, node.module) if part)
            names = [f"{start}.{alias.name}" for alias in node.names]  # perhaps a module
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "import " in node.value:
            inner = _parse_cell(node.value)
            if isinstance(inner, ast.Module):
                yield from _imports(inner)
        for name in names:
            yield from _parts(name)


def _parts(name):
    """Yield a, a.b, a.b.c for a.b.c."""
    pieces = name.split(".")
    return [".".join(pieces[: end + 1]) for end in range(len(pieces))]


def _meaning(node):
    """Write out a syntax tree, the same in every version of Python."""
    if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty texts
        return _meaning([part for part in node.values if getattr(part, "value", None) != ""])
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={_meaning(value)}"
            for name, value in ast.iter_fields(node)
            if name not in ("ctx", "kind", "type_ignores", "type_comment")
            and value is not None
            and value != []
        ]
        return f"{type(node).__name__}({', '.join(fields)})"
    return f"[{', '.join(map(_meaning, node))}]" if isinstance(node, list) else ascii(node)
