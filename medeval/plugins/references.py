"""The three ways of naming a plug-in, and what identifies its code."""

from __future__ import annotations

import importlib
import json
import sys
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any

from medeval.plugins import entry_points, files
from medeval.types.errors import PluginError, nearest


def resolve(group: str, reference: str, base: Path | None = None) -> Any:
    """The object that ``reference`` names; imports that plug-in only, never the whole group.

    reference: entry-point name of ``group``, ``package.module:Class`` or ``path/file.py:Class``.
    base: folder for relative files (the suite's); the working directory comes after it.
    Raises ``PluginError``: an unknown name with the known ones and the nearest, a failed import with reason and line.
    """
    if reference in entry_points.registered(group):
        return entry_points.load_entry(group, reference)
    if _names_file(reference):
        path, _, name = reference.rpartition(":")
        return _attribute(files.import_file(_find(path, base)), name, reference)
    if ":" in reference:
        module, _, name = reference.partition(":")
        return _attribute(_import(module, reference), name, reference)
    raise PluginError(_unknown(group, reference))


def absolute(reference: str, base: Path | None = None) -> str:
    """The reference with a file's path made absolute, so that another process finds it; other references as they are."""
    if not _names_file(reference):
        return reference
    path, _, name = reference.rpartition(":")
    return f"{_find(path, base)}:{name}"


def source_identity(plugin: Any, *, group: str = "", base: Path | None = None) -> str:
    """What identifies a plug-in's code in fingerprints.

    plugin: a class or function, or a reference to one (with ``group`` when it is an entry-point name).
    Returns ``name==version`` of an installed distribution; ``sha256:...`` of the source for plain files (with the
    siblings that they import) and for modules of no distribution; both for an editable install, whose version does
    not change when its code does.
    """
    if isinstance(plugin, str):
        plugin = resolve(group, plugin, base)
    module = sys.modules.get(plugin.__module__)
    source = Path(module.__file__).resolve() if module and module.__file__ else None
    if module is not None and module.__name__.startswith(files.PREFIX) and source:
        return files.code_identity(source)
    found = _distribution_of(plugin.__module__.partition(".")[0])
    if found is None:
        return files.code_identity(source) if source else f"module:{plugin.__module__}"
    version = f"{found.name}=={found.version}"
    return f"{version} {files.code_identity(source)}" if source and _editable(found) else version


def _names_file(reference: str) -> bool:
    path, colon, _ = reference.rpartition(":")
    return bool(colon) and (path.endswith(".py") or "/" in path or "\\" in path)


def _find(path: str, base: Path | None) -> Path:
    """The absolute path of a file that is looked for in ``base``, then in the working directory."""
    folders = list(dict.fromkeys(Path(folder).resolve() for folder in (base or Path(), Path())))
    for folder in folders:
        candidate = (folder / Path(path).expanduser()).resolve()
        if candidate.is_file():
            return candidate
    raise PluginError(f"no file {path!r} in {' nor in '.join(str(folder) for folder in folders)}")


def _import(module: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise PluginError(
                f"{reference!r}: there is no module {error.name!r} in this environment; "
                "a class of a plain file is written as 'path/file.py:Class'"
            ) from error
        raise PluginError(f"{reference!r} {entry_points.why(error)}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"{reference!r} {entry_points.why(error)}") from error


def _attribute(module: ModuleType, name: str, reference: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None) if part else None
    if found is None:
        objects = {key: value for key, value in vars(module).items() if callable(value) and key[0] != "_"}
        own = [key for key, value in objects.items() if getattr(value, "__module__", "") == module.__name__]
        raise PluginError(f"{reference!r}: no {name!r} there; {nearest(name, own or objects)}")
    return found


def _unknown(group: str, reference: str) -> str:
    noun = group.rpartition(".")[2].removesuffix("s") or "plug-in"
    if reference.endswith(".py"):
        return f"{noun} {reference!r} names a file but no class in it; write '{reference}:Class'"
    known = nearest(reference, entry_points.names(group))
    return f"unknown {noun} {reference!r}; {known}; or write 'package.module:Class' or 'path/file.py:Class'"


@cache
def _distribution_of(package: str) -> Distribution | None:
    owners = packages_distributions().get(package)
    try:
        return distribution(owners[0]) if owners else None
    except PackageNotFoundError:
        return None


def _editable(found: Distribution) -> bool:
    """True when its files may change without its version: an editable install, or a source tree on the path.

    A source tree's ``egg-info`` lists its SOURCES; it is found in the place of the installed one when one works in that tree.
    """
    if found.read_text("SOURCES.txt") is not None:
        return True
    text = found.read_text("direct_url.json")
    return bool(text and json.loads(text).get("dir_info", {}).get("editable"))
