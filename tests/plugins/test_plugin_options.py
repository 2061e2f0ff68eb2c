"""Options: what a class takes, what is refused and how it is told, what is built."""

from __future__ import annotations

import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from medeval.plugins import OptionsError, build, options_of, path_options, resolve, validate_options
from medeval.types import PluginError


class Walker:
    def __init__(
        self,
        beta: float = 1.0,
        mode: Literal["cg", "bf"] = "cg",
        crop: int | list[int] = 3,
        names: tuple[str, ...] = (),
        copy: bool = False,
    ) -> None:
        self.values = (beta, mode, crop, names, copy)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = 1


class Files(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    root: Path = Field(description="where the images are")
    more: list[Path] = []
    by_name: Mapping[str, Path] = {}
    inner: Inner = Inner()
    inners: tuple[Inner, ...] = ()


class Loose(BaseModel):
    size: int = 1


class Abstract(ABC):
    @abstractmethod
    def read(self) -> None: ...


class Broken(BaseModel):
    size: int = 1

    @field_validator("size")
    @classmethod
    def _check(cls, size: int) -> int:
        raise KeyError(size)


class Cached:
    def __init__(self, cache: Path = Path("cache"), size: int = 1) -> None:
        self.cache = cache


@dataclass
class Data:
    sizes: list[int] = field(default_factory=lambda: [1])
    device: object = field(default=object(), repr=False)


class Answers(Protocol):
    def answer(self) -> str: ...


class Plain(Answers):
    def answer(self) -> str:
        return "yes"


def make_walker(beta: float = 2.0) -> Walker:
    return Walker(beta=beta)


@pytest.mark.parametrize(
    ("cls", "options", "errors"),
    [
        (Walker, {"bta": 3}, [(("bta",), "unknown option 'bta'; did you mean 'beta'? known: beta, copy, crop, mode, names")]),
        (Walker, {"beta": "3"}, [(("beta",), "expected a number, got '3'; leave out the quotes")]),
        (Walker, {"beta": True}, [(("beta",), "expected a number, got true")]),
        (Walker, {"beta": None}, [(("beta",), "expected a number, got nothing (null)")]),
        (Walker, {"mode": "cgg"}, [(("mode",), "expected one of 'cg' or 'bf', got 'cgg'")]),
        (Walker, {"crop": "a"}, [(("crop",), "expected a whole number or a list, got 'a'")]),
        (Walker, {"crop": 1.5}, [(("crop",), "expected a whole number or a list, got 1.5")]),
        (Walker, {"crop": [1, "a"]}, [(("crop", 1), "expected a whole number, got 'a'")]),
        (Walker, {"names": "a"}, [(("names",), "expected a list, got 'a'")]),
        (Walker, {"names": [5]}, [(("names", 0), "expected text, got 5; put it in quotes")]),
        (Walker, {"copy": "yes"}, [(("copy",), "expected true or false, got 'yes'")]),
        (Walker, {"copy": 1, "beta": []}, [(("beta",), "expected a number, got []"), (("copy",), "expected true or false, got 1")]),
        (Files, {}, [((), "missing option 'root': where the images are")]),
        (Files, {"root": 3}, [(("root",), "expected text, got 3; put it in quotes")]),
        (Files, {"root": "a", "inner": {"sise": 1}}, [(("inner", "sise"), "unknown option 'sise'; did you mean 'size'? known: size")]),
        (Files, {"root": "a", "inners": [{}, {"x": 1}]}, [(("inners", 1, "x"), "unknown option 'x'; known: size")]),
        (Files, {"root": "a", "inner": 4}, [(("inner",), "expected a mapping, got 4")]),
        (Loose, {"sice": 1}, [(("sice",), "unknown option 'sice'; did you mean 'size'? known: size")]),
        (Loose, {"sice": 1, "size": "a"}, [(("sice",), "unknown option 'sice'; did you mean 'size'? known: size"), (("size",), "expected a whole number, got 'a'")]),
        (Plain, {"x": 1}, [(("x",), "unknown option 'x'; known: none")]),
    ],
)  # fmt: skip
def test_every_mistake_is_told_with_its_key(cls, options, errors):
    with pytest.raises(OptionsError) as caught:
        validate_options(cls, options)
    assert [(tuple(path), text) for path, text in caught.value.errors] == errors


def test_the_message_names_the_keys():
    with pytest.raises(OptionsError, match=r"names\.0: expected text, got 5"):
        validate_options(Walker, {"names": [5]})


def test_an_options_error_crosses_a_process():
    with pytest.raises(OptionsError) as caught:
        validate_options(Walker, {"names": [5]})
    assert pickle.loads(pickle.dumps(caught.value)).errors == caught.value.errors


class Kwargs:
    def __init__(self, beta: float = 1, **kwargs: Any) -> None: ...


class Bare:
    def __init__(self, beta=1) -> None: ...


class Positional:
    def __init__(self, beta: float, /) -> None: ...


class Unwritable:
    def __init__(self, where: Walker) -> None: ...


class Unknown:
    def __init__(self, where: NotThere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


class Swallows(BaseModel):
    model_config = ConfigDict(extra="allow")


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Kwargs, r"\*\*kwargs swallows typos"),
        (Bare, r"annotate the option 'beta', for example `beta: float = 0.5`"),
        (Positional, r"'beta' is positional-only"),
        (Unwritable, r"Unwritable: an option has a type that a suite cannot write"),
        (Unknown, r"annotation of its options cannot be read: name 'NotThere'"),
        (Swallows, r'extra="allow", which swallows typos'),
        (Abstract, r"Abstract is abstract and cannot be built: it does not define read"),
        (42, r"42 is neither a class nor a function"),
    ],
)
def test_options_that_cannot_be_checked_are_refused(cls, message):
    with pytest.raises(PluginError, match=message):
        options_of(cls)


def test_a_pydantic_class_is_its_own_options():
    assert options_of(Files) is Files


def test_defaults_are_filled_in_the_order_of_the_signature():
    filled = validate_options(Walker, {"copy": True})
    assert list(filled.items()) == [("beta", 1.0), ("mode", "cg"), ("crop", 3), ("names", []), ("copy", True)]


def test_a_validator_that_breaks_is_told_with_its_line():
    with pytest.raises(
        OptionsError, match=r"could not be checked: KeyError: 3 \(.*test_plugin_options.py:\d+\)"
    ):
        validate_options(Broken, {"size": 3})


def test_a_default_path_is_left_to_the_plugin(tmp_path):
    assert validate_options(Cached, {}, tmp_path) == {"size": 1}
    assert build(Cached, {}, tmp_path).cache == Path("cache")


def test_a_default_that_cannot_be_written_down_is_left_to_the_plugin():
    assert validate_options(Data, {}) == {"sizes": [1]}
    assert build(Data, {}).sizes == [1]


@pytest.mark.parametrize("cls", [Walker, Data, Plain, make_walker])
def test_validated_options_build_the_same_again(cls):
    once = validate_options(cls, {})
    assert validate_options(cls, json.loads(json.dumps(once))) == once
    build(cls, once)


def test_values_reach_the_constructor_in_their_annotated_types():
    assert build(Walker, {"beta": 2, "names": ["a"], "copy": True}).values == (2.0, "cg", 3, ("a",), True)
    assert build(make_walker, {"beta": 3}).values[0] == 3.0
    assert build(Plain, {}).answer() == "yes"


def test_relative_paths_belong_to_the_base_then_to_the_working_directory(tmp_path, monkeypatch):
    suite, here = tmp_path / "suite", tmp_path / "here"
    for folder, names in ((suite, "ab"), (here, "bc")):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    monkeypatch.chdir(here)
    options = {"root": "a", "more": ["b", "c", "d", "/e"], "by_name": {"x": "a"}}
    filled = validate_options(Files, options, suite)
    assert filled["root"] == str(suite / "a")
    assert filled["more"] == [str(suite / "b"), str(here / "c"), str(suite / "d"), "/e"]
    assert filled["by_name"] == {"x": str(suite / "a")}
    assert build(Files, options, suite).root == suite / "a"


def test_path_options_lists_the_files_that_a_plugin_reads(tmp_path):
    found = path_options(Files, {"root": "a", "more": ["b"]}, tmp_path)
    assert found == {"root": tmp_path / "a", "more.0": tmp_path / "b"}


def test_python_values_are_made_plain():
    assert validate_options(Files, {"root": Path("/a")})["root"] == "/a"
    with pytest.raises(OptionsError, match="plain data"):
        validate_options(Files, {"root": object()})


def test_a_constructor_that_raises_is_told_with_its_line(tmp_path):
    (tmp_path / "m.py").write_text(
        "class M:\n    def __init__(self) -> None:\n        raise OSError('no weights')\n"
    )
    with pytest.raises(PluginError, match=r"M cannot be built: OSError: no weights \(.*m.py:3\)"):
        build(resolve("medeval.adapters", "m.py:M", tmp_path), {})


def test_text_annotations_of_a_files_class_are_read(tmp_path):
    (tmp_path / "m.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom pathlib import Path\n"
        "@dataclass\nclass M:\n    checkpoint: Path | None = None\n"
    )
    model = build(resolve("medeval.adapters", "m.py:M", tmp_path), {"checkpoint": "x.pt"}, tmp_path)
    assert model.checkpoint == tmp_path / "x.pt"
