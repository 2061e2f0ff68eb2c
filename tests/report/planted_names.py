"""Runs in which every place that can hold a name holds a planted one, and a search that looks into all that a page embeds."""

from __future__ import annotations

import base64
import html
import json
import re
import subprocess
import sys
import urllib.parse
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1]
for _room in ("engine", "tasks", "llm", "decisions"):
    sys.path.append(str(TESTS / _room))  # their helpers; behind all else, so that nothing is shadowed

WORD = "zqplant"  # begins every planted name: one search finds them all
HOST, USER, REMOTE = f"{WORD}host", f"{WORD}user", f"https://{WORD}git.example/{WORD}repo.git"

MODEL = '''
import numpy as np
from medeval.types import Capabilities, Segmentation

class Model:
    """Fails with a telling message on one case."""
    takes = Capabilities(prompts=frozenset({"box", "points"}))
    def __init__(self, weights: str = "", server: str = "", tolerance: float = 30.0, fails: bool = False) -> None:
        self.tolerance, self.fails = tolerance, fails
    def encode(self, image):
        if self.fails and int(image.array.flat[0]) == 3:
            raise ValueError("cannot read /zqplanthome/zqplanterror.png of zqplanterrorpatient")
        return image.array[0].astype(float)
    def segment(self, encoded, prompts):
        return [Segmentation(self.mask(encoded, prompt), score=0.5) for prompt in prompts]
    def mask(self, image, prompt):
        inside = np.zeros(image.shape, bool)
        inside[tuple(slice(a, b) for a, b in prompt.box.T)] = True
        return inside & (np.abs(image - np.median(image[inside])) <= self.tolerance)
'''

CLASSIFIER = """
class Ours:
    threshold = 0.5
    def __init__(self, key_file: str = ""):
        pass
    def classify(self, inputs):
        if inputs["name"] == "zqplantstudy7":
            raise ValueError("no pixel in zqplanterror")
        return float(inputs["hint"])
"""


STRANGER = '''
from medeval.tasks.prompted_segmentation.task import PromptedSegmentation
from medeval.types.views import Chat, Curve, Forest, Matrix, Notice, Passage, Series, Table, Column, TextDiff, Turn

class Mine(PromptedSegmentation):
    """Tells names wherever a task can."""
    task: str = ""
    def more_scores(self, scorer):
        row = dict(scorer.plain_scores()[0])
        told = {"definition": "zqplantword", "estimand": "zqplantword", "unit": "zqplantunit", "note": "zqplantnote",
                "direction": "zqplantdirection", "zqplantfield": 1, "failed": {"zqplantcause": 2}, "undefined": {"zqplantrule": 3}}
        case = str(scorer.column("case")[0])
        return [{**row, **told, "metric": "extra"}, {**row, **told, "metric": f"dice of {case}"},
                {**row, **told, "metric": "other", "by": "who", "group": {"who": case}}]
    def more_views(self, observed, scores):
        words = "zqplantview"
        return [Table(words, [Column(words)], [{words: words}]), Notice(words, words), Chat(words, [Turn(words, words)]),
                TextDiff(words, words, words), Passage(words, words), Matrix(words, [words], [words], [[1.0]]),
                Curve(words, words, words, [Series(words, [1], [1])]), Forest(words, words, [{"label": words, "value": 1}])]
'''


def found(page: str, word: str = WORD) -> list[str]:
    """Excerpts of a page, or of what it embeds in any usual coding, that hold the word."""
    return [
        text[max(0, at - 30) : at + 50].strip()
        for text in readings(page)
        if (at := text.lower().find(word.lower())) >= 0
    ]


def readings(page: str) -> Iterator[str]:
    """The page as it is, unquoted in each way, and every embedded block decoded, uncompressed and read as text."""
    yield page
    yield html.unescape(page)
    yield urllib.parse.unquote(page)
    yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), page)
    yield page[::-1].lower().replace(WORD[::-1], WORD)  # written backwards
    for block in re.findall(r"[A-Za-z0-9+/_-]{12,}={0,2}", page):
        for shift in range(4):
            yield from _decoded(block[shift:])
    for block in re.findall(r"(?:[0-9a-fA-F]{2}){6,}", page):
        yield bytes.fromhex(block).decode("latin-1")


def _decoded(block: str) -> Iterator[str]:
    plain = block.replace("-", "+").replace("_", "/").rstrip("=")
    plain = plain[: len(plain) - (len(plain) % 4 == 1)]
    raw = base64.b64decode(plain + "=" * (-len(plain) % 4))
    yield raw.decode("latin-1")
    with suppress(zlib.error):  # not compressed: what it holds was told above
        yield (
            zlib.decompressobj(47).decompress(raw).decode("latin-1")
        )  # zlib or gzip, also one that is cut off
    if raw.startswith(b"\x89PNG"):
        yield from _chunks(raw)


def _chunks(png: bytes) -> Iterator[str]:
    """Kinds and texts of a PNG's chunks other than its pixels, compressed ones too."""
    at = 8
    while at + 8 <= len(png):
        length, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        body = png[at + 8 : at + 8 + length]
        if kind in (b"zTXt", b"iTXt"):
            try:
                yield zlib.decompress(body.split(b"\0", 2)[-1]).decode("latin-1")
            except zlib.error:
                yield body.decode("latin-1")
        at += 12 + length


def repository(folder: Path) -> None:
    """A git repository with a telling remote around the suite."""
    git = ["git", "-C", str(folder), "-c", f"user.name={USER}", "-c", f"user.email={USER}@example.com"]
    for words in (
        ["init", "-q"],
        ["remote", "add", "origin", REMOTE],
        ["commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run([*git, *words], check=True, capture_output=True)


def segmentation(small: Any, volumes: bool = False) -> Path:
    """12 images of 12 patients; one model with options that name places, one that fails with a telling message."""
    root, ending = small.folder / f"{WORD}root", ".nii.gz" if volumes else ".png"
    for number in range(12):
        site = ("north", "south")[number >= 10]
        name = f"{WORD}p{number:02d}-{WORD}case{number:02d}{ending}"
        _write(root / site, name, number, volumes)
    (small.folder / "model.py").write_text(MODEL)
    data = {
        "format": "image-mask-folder", "root": str(root), "images": f"{{site}}/images/{{id}}{ending}",
        "masks": f"{{site}}/masks/{{id}}{ending}", "labels": {"background": 0, "disk": 1, "bar": 2},
        "patient_id": f"^{WORD}p[0-9]+", "metadata": {"note": f"{WORD}note of a free text"},
    }  # fmt: skip
    weights = {
        "weights": f"/{WORD}home/{WORD}weights.pth",
        "server": f"https://{WORD}host.example/v1?key={WORD}key",
    }
    return small.suite(
        datasets={"pics": data},
        models={"mine": small.model(**weights), "broken": small.model(fails=True)},
        tasks=[small.task(prompts=["box"], by=["structure", "site", "note"])],
    )


def _write(folder: Path, name: str, number: int, volume: bool) -> None:
    """An image and its labels, as a picture or as a volume of six equal slices whose header tells a name."""
    import nibabel
    from PIL import Image
    from small_world import picture

    pixels, labels = picture(number)
    for sub, plane in (("images", pixels), ("masks", labels)):
        (folder / sub).mkdir(parents=True, exist_ok=True)
        if volume:
            made = nibabel.Nifti1Image(np.repeat(plane[..., None], 6, axis=2), np.eye(4))
            made.header["descrip"] = f"{WORD}header"
            nibabel.save(made, folder / sub / name)
        else:
            Image.fromarray(plane).save(folder / sub / name)


def stranger(small: Any) -> Path:
    """A task from a file that tells names wherever it can."""
    (small.folder / f"{WORD}mine.py").write_text(STRANGER)
    (small.folder / "model.py").write_text(MODEL)
    pictures = small.pictures(cases=24, patients=12)
    return small.suite(
        datasets={"pics": pictures}, tasks=[small.task(task=f"{WORD}mine.py:Mine", prompts=["box"])]
    )


def classification(small: Any, every: int = 4) -> Path:
    """120 studies of two sites in a CSV, one of which makes the model fail; one in ``every`` is sick."""
    rng = np.random.default_rng(0)
    lines = ["case_id,patient_id,y_true,site,comment,hint,name"]
    for number in range(120):
        sick = number % every == 0
        hint = float(np.clip(0.5 + 0.3 * sick + rng.normal(0, 0.2), 0, 1))
        site = "north" if number % 3 else "south"
        lines.append(
            f"{WORD}study{number},{WORD}patient{number},{int(sick)},{site},{WORD}comment {number},{hint:.3f},{WORD}study{number}"
        )
    (small.folder / f"{WORD}studies.csv").write_text("\n".join(lines))
    (small.folder / "ours.py").write_text(CLASSIFIER)
    return small.suite(
        datasets={"studies": {"format": "table", "file": f"{WORD}studies.csv", "id": "case_id", "patient": "patient_id",
                              "inputs": {"hint": "hint", "name": "name"}, "reference": {"label": "y_true"}}},
        models={"ours": {"adapter": "ours.py:Ours", "key_file": f"{WORD}key.txt"}, "again": {"adapter": "ours.py:Ours"}},
        tasks=[{"task": "classification", "by": ["site", "comment"]}],
    )  # fmt: skip


def questions(small: Any) -> Path:
    """Open questions with a judge that explains itself, and replies that quote the patient."""
    rows = [
        {"id": f"{WORD}q{n}", "question": f"{WORD}question {n}?", "answer": [f"{WORD}gold{n}", "gout"], "patient": f"{WORD}p{n}",
         "subject": "joints" if n % 2 else "skin"}
        for n in range(24)
    ]  # fmt: skip
    (small.folder / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judge = {"client": "scripted", "rules": [{"when": "2", "reply": {"data": {"reason": f"{WORD}why", "same": True}}}],
             "otherwise": {"data": {"reason": f"{WORD}explained", "same": False}}}  # fmt: skip
    model = {"client": "scripted", "rules": [{"when": "question 3", "reply": f"{WORD}told nothing"}],
             "otherwise": f"Answer: crystals, {WORD}said"}  # fmt: skip
    return small.suite(
        datasets={"mine": {"format": "questions", "file": "q.jsonl"}},
        models={"chat": model},
        tasks=[{"task": "question-answering", "samples": 1, "judge": judge, "by": ["subject"]}],
    )


def dialogues(small: Any, server: Any) -> Path:
    """Mini-CEX of 12 patients with chat models in every role."""
    import chat_suite

    path = chat_suite.suite(small, server, cases=12)
    rows = [json.loads(line) for line in (small.folder / "cases.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row |= {"id": f"{WORD}dialogue{number}", "chief_complaint": f"{WORD}complaint for {number + 2} days."}
        row["facts"] = {
            "present": [f"{WORD}fact on Monday.", "Swallowing makes it worse."],
            "negative": ["No cough."],
        }
    (small.folder / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for role in ("doctor", "patient"):
        server.on(role, lambda call, role=role: _speaks(call, role))
    return path


def _speaks(call: Any, role: str) -> Any:
    import chat_suite

    said = sum(message["role"] == "assistant" for message in call.body["messages"])
    if role == "patient":
        return chat_suite.reply(f"{WORD}fact on Monday.")
    last = said >= chat_suite.TURNS - 1
    return chat_suite.reply(
        f"Final diagnosis:\n1. Strep throat\n2. {WORD}influenza" if last else f"{WORD}when did it begin?"
    )


def adaptation(small: Any, checkpoint: Path) -> Path:
    """A source network adapted to pictures of 12 patients."""
    import target_world

    world = target_world.World.__new__(target_world.World)
    world.folder = small.folder
    world.datasets = {
        "train": target_world.folder_of(small.folder / "train", 4, 0),
        "test": target_world.folder_of(small.folder / f"{WORD}test", 12, 50, patients=12),
    }
    for path in (small.folder / f"{WORD}test").rglob("*.png"):
        path.rename(path.with_name(f"{WORD}{path.name}"))
    world.datasets["test"]["patient_id"] = f"^{WORD}p[0-9]+"
    world.model = {
        "adapter": "torch-segmenter", "builder": "medeval_models.upl_sfda:build_source", "arguments": target_world.SIZES,
        "checkpoint": str(checkpoint), "device": "cpu",
    }  # fmt: skip
    return Path(world.suite(tasks=[world.task(metrics=["dice"])]))
