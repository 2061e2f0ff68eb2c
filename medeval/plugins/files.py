"""Plain Python files as plug-ins: a model in one file, and the files beside it that it imports.

The file's folder is on ``sys.path`` only while the file is imported or its class is built. Siblings keep their plain
names (``import network``), so two folders that both have a ``network.py`` would meet in ``sys.modules``, and the second
model would silently run the first one's network: whoever enters a folder takes the other folders' siblings out first.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from medeval.plugins.entry_points import why
from medeval.types.errors import PluginError
from medeval.types.seeds import digest

PREFIX = "medeval_file_"

_lock = threading.RLock()
_imported: dict[Path, tuple[str, ModuleType]] = {}  # file -> (identity of its code, module)
_siblings: dict[Path, dict[str, ModuleType]] = {}  # folder -> modules imported from it by their plain names


class _FreshLoader(SourceFileLoader):
    """Compiles the bytes as they are: a cached .pyc is keyed by whole seconds and size, and can be stale after an edit."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def import_file(path: Path) -> ModuleType:
    """The module of a file, imported again only when it or a sibling that it imports has changed.

    path: absolute. The module's name depends on the path alone, so that every process gives it the same one.
    Raises ``PluginError`` with the reason and the line.
    """
    with _lock:
        identity = code_identity(path)
        known = _imported.get(path)
        if known and known[0] == identity:
            return known[1]
        if known:  # edited: the siblings may be what changed
            for name in _siblings.pop(path.parent, {}):
                sys.modules.pop(name, None)
        module = _execute(path)
        _imported[path] = (identity, module)
        return module


def _execute(path: Path) -> ModuleType:
    name = f"{PREFIX}{digest(path)[:12]}_{path.stem}"
    spec = spec_from_file_location(name, path, loader=_FreshLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses and annotations look their module up here
    try:
        with folder_of(module):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(f"{path.name} {why(error)}") from error
    return module


@contextmanager
def folder_of(module: ModuleType | None) -> Iterator[None]:
    """While inside, the siblings of a file plug-in's module can be imported; does nothing for any other module."""
    if module is None or not module.__name__.startswith(PREFIX):
        yield
        return
    folder = Path(str(module.__file__)).parent
    with _lock:
        for other in set(_siblings) - {folder}:
            for name, sibling in _siblings[other].items():
                if sys.modules.get(name) is sibling:
                    del sys.modules[name]
        sys.modules.update(_siblings.get(folder, {}))
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.path.remove(str(folder))
            _siblings.setdefault(folder, {}).update(_modules_from(folder))


def _modules_from(folder: Path) -> dict[str, ModuleType]:
    """Modules of ``sys.modules`` that bear the plain name of a file or package in ``folder`` and came from there."""
    tops = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in tops and folder in Path(getattr(module, "__file__", None) or "").parents
    }


def code_identity(path: Path) -> str:
    """``sha256:...`` of the file's bytes and, when it imports siblings, of theirs too (found in the source, not by running)."""
    sources = {file.relative_to(path.parent).as_posix(): _sha256(file) for file in _closure(path)}
    if len(sources) == 1:
        return f"sha256:{_sha256(path)}"
    return f"sha256:{digest(path.name, *(part for item in sorted(sources.items()) for part in item))}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _closure(path: Path) -> set[Path]:
    """The file and every file of its folder that it imports, directly or through others, at any depth of the code."""
    found: set[Path] = set()
    todo = [path]
    while todo:
        file = todo.pop()
        if file in found:
            continue
        found.add(file)
        for top in _imports(file):
            sibling = path.parent / f"{top}.py"
            package = path.parent / top
            if sibling.is_file():
                todo.append(sibling)
            elif (package / "__init__.py").is_file():
                todo.extend(package.rglob("*.py"))
    return found


def _imports(path: Path) -> set[str]:
    """Top names of what a file imports; none when it is no valid Python (importing it will say so)."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    tops: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            tops.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            tops.add(node.module.partition(".")[0])
    return tops
