"""What decides a result, settings and data aside: the code that runs and the versions of libraries.

One identity serves the committed notebooks, sweeps and the store of networks. It is of the meaning of
the code: of syntax trees without comments, docstrings and the type hints of functions. It covers what is
run and all that this imports in turn, be it the course's or the reader's own. What is installed counts by
its version.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """``code``: a SHA-256, the same on every machine; ``versions``: of each library that is imported."""

    code: str
    versions: dict[str, str]


def of_notebook(notebook, folder: str | Path | None = None) -> Identity:
    """Return the identity of a notebook. ``folder`` is where it lies, to find the reader's modules there."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    trees = [_parse_cell(cell.source) for cell in cells]
    generated = ["setup" in cell.metadata.get("tags", []) for cell in cells]  # counts by what it imports
    meanings = [_meaning(tree) for tree, skip in zip(trees, generated) if not skip]
    return _identify(meanings, [name for tree in trees for name in _imports(tree)], folder)


def of_module(name: str, without: tuple[str, ...] = ()) -> Identity:
    """Return the identity of a module, ``without`` those modules whose results count in another way."""
    return _identify([], _parts(name), None, without)


def _identify(meanings, waiting, folder, without=()):
    own, places, libraries = {}, {}, set()
    while waiting:
        name, *waiting = waiting  # a package comes before what is in it
        top, parent = name.partition(".")[0], name.rpartition(".")[0]
        if name in places or name in without or top in sys.stdlib_module_names:
            continue
        spec = _find(name, places.get(parent), [str(folder or ""), os.getcwd()])
        places[name] = spec and spec.submodule_search_locations
        path = Path(spec.origin if spec.origin else "") if spec else Path()
        if top != "helpers" and _is_installed(path, name):
            libraries.add(top)
        elif path.is_file():
            own[name], imports = _read(path.read_bytes(), spec.parent)
            own[name] += "".join(_digest(file) for file in _beside(path) if spec.parent)
            waiting += imports
    everything = repr((meanings, sorted(own.items())))
    installed = sorted({name for top in libraries for name in _distributions().get(top, [top])})
    versions = {name: importlib.metadata.version(name) for name in installed}
    return Identity(hashlib.sha256(everything.encode()).hexdigest(), versions)


def _find(name, inside, places):
    """Return the specification of a module, without importing it, or None."""
    try:  # where a kernel looks: in a package, or in its own folder, then where Python does
        if "." in name:
            return PathFinder.find_spec(name, list(inside)) if inside else None
        return PathFinder.find_spec(name, places) or importlib.util.find_spec(name)
    except ValueError:  # __main__
        return None


def _is_installed(path, name):
    """Return whether a module lies where packages are installed, be it by ``pip install --target``."""
    place = list(path.parents)[name.count(".") + (path.stem == "__init__") :][:1]  # that Python looks in
    return bool({"site-packages", "dist-packages"} & set(path.parts) or any(map(_has_packages, place)))


@functools.cache
def _has_packages(folder):
    return any(folder.glob("*.dist-info"))


def _beside(path):
    """Return what lies in a package beside its modules: a page, a style, a table."""
    files = [file for file in sorted(path.parent.iterdir()) if file.is_file() and file.name[0] != "."]
    return [file for file in files if file.suffix not in (".py", ".pyc")]


def _digest(file):
    return file.name + hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


@functools.cache
def _distributions():
    """Return who ships a module: name → distributions. (Python 3.10's own misses those without a list.)"""
    found = {}
    for one in importlib.metadata.distributions():
        listed = (one.read_text("top_level.txt") or "").split()
        for name in listed or {file.parts[0].partition(".")[0] for file in one.files or ()}:
            found.setdefault(name, []).append(one.metadata["Name"])
    return found


@functools.cache
def _read(content, package):
    """Return the meaning of a module's code and the names of what it may import."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # of what is no Python, the bytes
        return ascii(content), []
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and body:
            if isinstance(body[0], ast.Expr) and isinstance(getattr(body[0].value, "value", None), str):
                del body[0]  # the docstring
    return _meaning(tree), list(_imports(tree, package))


def _parse_cell(source):
    """Return the syntax tree of a cell; IPython turns ``%matplotlib`` and ``!ls`` into calls."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:
        return ast.Constant(source)
    quiet = [ast.Constant(";")] if source.rstrip().endswith(";") else []  # shows no result
    return ast.Module([*tree.body, *quiet])


def _imports(tree, package=""):
    """Yield all that a piece of code may import, also in texts that are code: a magic's, a notebook's."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            start = ".".join([*above, *filter(None, [node.module])])
            names = [f"{start}.{alias.name}" for alias in node.names]  # perhaps a module
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "import " in node.value:
            inner = _parse_cell(node.value)
            yield from _imports(inner) if isinstance(inner, ast.Module) else ()
        for name in names:
            yield from _parts(name)


def _parts(name):
    """Return a, a.b, a.b.c for a.b.c."""
    pieces = name.split(".")
    return [".".join(pieces[: end + 1]) for end in range(len(pieces))]


def _meaning(node):
    """Write out a syntax tree, the same in every version of Python."""
    if isinstance(node, list):
        return f"[{', '.join(map(_meaning, node))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty texts
        fields = [("values", [part for part in node.values if getattr(part, "value", None) != ""])]
    left_out = ["ctx", "kind", "type_ignores", "type_comment", "returns"]
    left_out += ["annotation"] if isinstance(node, ast.arg) else []  # those of a dataclass make it
    inside = [f"{name}={_meaning(value)}" for name, value in fields if name not in left_out]
    return f"{type(node).__name__}({', '.join(inside)})"
