"""``medeval new adapter|dataset|task NAME``: a file that works and a test beside it, to be changed into one's own."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import sys
import unicodedata
from importlib.metadata import packages_distributions
from importlib.resources import files
from pathlib import Path
from string import Template

from medeval.types import UserError, nearest

KINDS = ("adapter", "dataset", "task")
_NAME = "[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*"


def scaffold(kind: str, name: str, folder: Path) -> list[Path]:
    """Write ``NAME.py`` and ``test_NAME.py`` into a folder; returns both paths.

    kind: adapter, dataset or task. name: the plug-in's name, such as ``my-model``; the file is ``my_model.py`` and the class
    ``MyModel``. Raises ``UserError`` for another kind, a name that no module can have or that hides another one, and a
    file that is there already.
    """
    if kind not in KINDS:
        raise UserError(f"nothing to write for {kind!r}; {nearest(kind, KINDS)}")
    module = _module(kind, name)
    words = {
        "module": module,
        "name": module.replace("_", "-"),
        "cls": "".join(w[:1].upper() + w[1:] for w in module.split("_")),
    }
    texts = {folder / f"{module}.py": f"{kind}.txt", folder / f"test_{module}.py": f"test_{kind}.txt"}
    for path in texts:
        if path.exists():
            raise UserError(f"{path} exists already; choose another name, or move it away")
    filled = {path: _template(template).substitute(words) for path, template in texts.items()}
    _check_meanings(name, words, filled)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in filled.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from error
    return list(texts)


def _module(kind: str, name: str) -> str:
    """The module's name. Raises ``UserError`` for a name that is none, with the nearest that is."""
    module = name.lower().replace("-", "_")
    if re.fullmatch(_NAME, name) and not keyword.iskeyword(module) and not module.startswith("test_"):
        return module
    ascii_ = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    near = "-".join(re.findall("[a-z0-9]+", ascii_.lower().removeprefix("test_")))
    usable = re.fullmatch(_NAME, near) and not keyword.iskeyword(near)
    raise UserError(
        f"name {name!r}: letters, digits and hyphens are expected, a letter first, no word of Python's and no test_; "
        f"{near if usable else f'my-{kind}'} would do"
    )


def _check_meanings(name: str, words: dict[str, str], filled: dict[Path, str]) -> None:
    """Raises ``UserError`` for a module that would stand in the way of another, and a class that hides what its file imports."""
    module, cls = words["module"], words["cls"]
    if module in sys.stdlib_module_names or module in packages_distributions():
        raise UserError(
            f"name {name!r}: {module}.py would hide the module {module!r} from all that import it; my-{name.lower()} would do"
        )
    imported = {
        alias.asname or alias.name
        for text in filled.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != module
        for alias in node.names
    }
    if cls in imported or hasattr(builtins, cls):
        raise UserError(
            f"name {name!r}: class {cls} would hide the {cls} that its file needs; my-{name.lower()} would do"
        )


def _template(name: str) -> Template:
    return Template(files("medeval.scaffolds").joinpath(name).read_text(encoding="utf-8"))
