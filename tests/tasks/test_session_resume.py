"""A session that was killed in round 3 of 5 goes on with round 3, and ends in the bytes of an unbroken run."""

import signal

import numpy as np
import pytest

from medeval.tasks.prompted_segmentation.answers import UNKEPT, pack, unpack
from medeval.types import InfrastructureFailure, ModelFailure, Segmentation, Status

MODEL = '''
import os, signal
import numpy as np
from medeval.types import Capabilities, Segmentation

count = 0

class Opaque:
    def __init__(self, seen): self.seen = seen

class Remembering:
    """Its answer depends on all rounds, which it knows from its logits alone."""
    takes = Capabilities(prompts=frozenset({"points"}))
    def __init__(self, opaque: bool = False) -> None:
        self.opaque = opaque
    def encode(self, image):
        self.case = int(image.array.flat[0])
        return image.array.shape[1:]
    def segment(self, shape, prompts):
        global count
        count += 1
        with open(os.environ["CALLS"], "a") as file:
            file.write(f"case {self.case} round {len(prompts[0].points)}\\n")
        if count == int(os.environ.get("KILL_AT", "0")):
            os.kill(os.getpid(), signal.SIGKILL)
        return [self.answer(shape, p) for p in prompts]
    def answer(self, shape, prompt):
        kept = prompt.logits
        seen = [] if kept is None else kept.seen if self.opaque else kept["seen"]
        seen = [*seen, prompt.points[-1].astype(np.float32)]
        mask = np.zeros(shape, bool)
        for number, (row, column) in enumerate(np.array(seen, int)):
            mask[max(0, row - number) : row + 2, max(0, column - 2) : column + 1 + number] = True
        return Segmentation(mask, 0.25 * len(seen), Opaque(seen) if self.opaque else {"seen": seen, "n": (len(seen), None)})
'''


def run(small, out, *, opaque=False, kill_at=0):
    (small.folder / "remembering.py").write_text(MODEL)
    small.suite(
        datasets={"pics": small.pictures(cases=2)},
        models={"mine": {"adapter": "remembering.py:Remembering", "opaque": opaque}},
        tasks=[small.task(prompts=["5 clicks"], by=[])],
    )
    before = len(small.calls())
    done = small.cli("run", "suite.yaml", "-o", out, "-q", "--no-report", KILL_AT=str(kill_at))
    return done.returncode, small.calls()[before:]


@pytest.mark.parametrize("opaque", [False, True], ids=["plain logits", "logits that cannot be kept"])
def test_a_session_goes_on_in_its_middle(small, opaque):
    code, unbroken = run(small, "unbroken", opaque=opaque)
    assert code == 0
    code, first = run(small, "killed", opaque=opaque, kill_at=3)
    assert (code, first[-1]) == (-signal.SIGKILL, "case 0 round 3")
    code, rest = run(small, "killed", opaque=opaque)
    assert code == 0
    assert rest[0] == ("case 0 round 1" if opaque else "case 0 round 3")
    assert rest == (unbroken if opaque else unbroken[2:])
    assert small.parts("killed") == small.parts("unbroken")
    assert not list((small.folder / "killed" / "journal").rglob("*.jsonl"))  # of no use any more


def test_rounds_are_kept_exactly():
    mask = np.zeros((7, 9, 5), bool)
    mask[2:5, 3:8, 1] = True
    logits = {
        "low": np.arange(6, dtype=np.float32).reshape(2, 3),
        "list": [None, (1, "a", np.int64(4))],
        3: True,
    }
    soft = np.linspace(0, 1, mask.size, dtype=np.float32).reshape(mask.shape)
    kept = unpack(
        pack({"a": Segmentation(mask, 0.1, logits, soft), "b": Segmentation(np.zeros((3, 4), bool))})
    )
    answer = kept["a"]
    assert np.array_equal(answer.mask, mask)
    assert np.array_equal(answer.probabilities, soft)
    assert (answer.score, kept["b"].score, kept["b"].mask.shape) == (0.1, None, (3, 4))
    assert answer.logits["low"].dtype == np.float32
    assert np.array_equal(answer.logits["low"], logits["low"])
    assert answer.logits["list"] == [None, (1, "a", 4)]
    assert answer.logits[3] is True


def test_tensors_come_back_as_tensors():
    torch = pytest.importorskip("torch")
    logits = torch.arange(4, dtype=torch.float16)
    kept = unpack(pack({"a": Segmentation(np.ones((2, 2), bool), logits=logits)}))["a"].logits
    assert torch.equal(kept, logits)
    brain = Segmentation(np.ones((2, 2), bool), logits=torch.ones(2, dtype=torch.bfloat16))
    assert pack({"a": brain}) is UNKEPT


def test_a_models_failure_is_kept_and_anothers_is_asked_again():
    failure = ModelFailure("boom")
    failure.status = Status.REFUSED
    kept = unpack(pack({"a": failure}))["a"]
    assert (str(kept), kept.status) == ("boom", Status.REFUSED)
    assert pack({"a": InfrastructureFailure("no memory")}) is UNKEPT
