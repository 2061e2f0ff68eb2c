"""``medeval train RECIPE --config FILE``: a paper whose contribution is a way of training, as a plug-in.

A recipe is a class of the entry-point group ``medeval.recipes``: its options are the config file's keys, and
``run(out, tell, base)`` trains into a folder, resuming what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medeval.plugins import OptionsError, build, resolve
from medeval.suite.mistakes import Mistakes, Place
from medeval.suite.source import Reader, compose
from medeval.types import SuiteError

GROUP = "medeval.recipes"


def train(recipe: str, config: Path, out: Path, tell: Callable[[str], None]) -> Path:
    """Run a recipe; returns the file of the weights.

    Raises ``SuiteError`` for a config that cannot be read, ``PluginError`` for an unknown recipe or options that do not
    fit, and what the recipe raises.
    """
    options = _read(config)
    cls = resolve(GROUP, recipe, config.parent)
    try:
        made = build(cls, options, config.resolve().parent)
    except OptionsError as error:
        raise SuiteError("\n".join(f"{config}: {line}" for line in str(error).splitlines())) from None
    return made.run(out, tell, config.resolve().parent)


def _read(config: Path) -> dict:
    """The YAML as plain data, by the suite's own reader: no tag executed, no duplicate keys, ``${ENV}`` filled in."""
    try:
        text = config.read_text(encoding="utf-8")
    except OSError as error:
        raise SuiteError(f"{config}: cannot be read ({error.strerror or error})") from None
    place = Place(str(config))
    reader = Reader(Mistakes(place))
    node = compose(text, place)
    data = {} if node is None else reader.read(node, (), place)
    reader.mistakes.tell()
    if not isinstance(data, dict):
        raise place.error("a config is a mapping of options")
    return data
