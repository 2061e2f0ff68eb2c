"""``medeval new adapter|dataset|task NAME``: a file that works and a test beside it, to be changed into one's own."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

from medeval.types import UserError, nearest

KINDS = ("adapter", "dataset", "task")


def scaffold(kind: str, name: str, folder: Path) -> list[Path]:
    """Write ``NAME.py`` and ``test_NAME.py`` into a folder; returns both paths.

    kind: adapter, dataset or task. name: the plug-in's name, such as ``my-model``; the file is ``my_model.py`` and the class
    ``MyModel``. Raises ``UserError`` for another kind, a name that no module can have, and a file that is there already.
    """
    if kind not in KINDS:
        raise UserError(f"nothing to write for {kind!r}; {nearest(kind, KINDS)}")
    module = re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise UserError(f"name {name!r}: letters, digits and hyphens are expected, a letter first: my-{kind}")
    words = {
        "module": module,
        "name": module.replace("_", "-"),
        "cls": "".join(w.title() for w in module.split("_")),
    }
    texts = {folder / f"{module}.py": f"{kind}.txt", folder / f"test_{module}.py": f"test_{kind}.txt"}
    for path in texts:
        if path.exists():
            raise UserError(f"{path} exists already; choose another name, or move it away")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in texts.items():
            path.write_text(_template(template).substitute(words), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from error
    return list(texts)


def _template(name: str) -> Template:
    return Template(files("medeval.scaffolds").joinpath(name).read_text(encoding="utf-8"))
