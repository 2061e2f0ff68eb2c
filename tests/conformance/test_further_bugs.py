"""Bugs beyond the ten, in every protocol that the kit knows: each found by the check that is for it."""

from pathlib import Path

import pytest
from further import ALONE, PLANTED

from medeval.conformance import check_model
from medeval_adapters.slicewise import Slicewise
from medeval_adapters.torch_segmenter import TorchSegmenter

FILE = Path(__file__).with_name("further.py")


def failed(found):
    return {
        finding.check.removesuffix(" (2D)").removesuffix(" (3D)")
        for finding in found
        if finding.verdict == "fail"
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "host", "check"), [pytest.param(*case, id=case[0].__name__) for case in PLANTED]
)
def test_a_bug_in_a_segmentation_model_is_found(made, host, check, bright):
    options = {Slicewise: {"model": "region-growing", "prompts": "propagate"}, TorchSegmenter: bright}.get(
        host
    )
    found = check_model(f"{FILE}:{made.__name__}", options)
    assert failed(found) == {check}, [f for f in found if f.verdict == "fail"]


def alone(bug):
    """Methods of adaptation need PyTorch in two processes."""
    marks = pytest.mark.slow if callable(getattr(bug, "fit", None)) else ()
    return pytest.param(bug, id=bug.__name__, marks=marks)


@pytest.mark.parametrize("bug", [alone(bug) for bug in ALONE])
def test_a_bug_in_any_other_model_is_found(bug):
    found = check_model(f"{FILE}:{bug.__name__}")
    assert failed(found) == {ALONE[bug]}, [f for f in found if f.verdict == "fail"]


def test_what_the_message_of_a_wrong_shape_says(tmp_path):
    found = check_model(f"{FILE}:NetworkSizeOnRegionGrowing")
    wrong = next(finding for finding in found if finding.verdict == "fail")
    assert "shape (64, 64), the image's spatial shape is (48, 80)" in wrong.what
    assert "resize back" in wrong.mend
