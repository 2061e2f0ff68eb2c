"""Each of ten bugs, planted in shipped adapters of 2D, 3D and automatic segmentation, is found by its check and no other."""

from pathlib import Path

import pytest
from planted import CASES, CLEAN

from medeval.conformance import check_model
from medeval_adapters.region_growing import RegionGrowing
from medeval_adapters.slicewise import Slicewise
from medeval_adapters.torch_segmenter import TorchSegmenter

FILE = Path(__file__).with_name("planted.py")
ALSO = {"TurnedImage": {"answers"}}  # a transposed answer has the wrong shape too, and its message says which


def param(made, host, check):
    """The hosts that build a 3D or PyTorch model are slow."""
    marks = () if host is RegionGrowing else pytest.mark.slow
    return pytest.param(made, host, check, id=made.__name__, marks=marks)


@pytest.fixture
def options(bright):
    return {
        Slicewise: {"model": "region-growing", "prompts": "propagate", "axis": "axial"},
        TorchSegmenter: bright,
    }


def failed(found):
    return {
        finding.check.removesuffix(" (2D)").removesuffix(" (3D)")
        for finding in found
        if finding.verdict == "fail"
    }


def told(found, check):
    return next(finding for finding in found if finding.check.startswith(check) and finding.verdict == "fail")


@pytest.mark.parametrize(("made", "host", "check"), [param(*case) for case in CASES])
def test_a_planted_bug_is_found_by_its_check_and_no_other(made, host, check, options):
    found = check_model(f"{FILE}:{made.__name__}", options.get(host))
    allowed = next((also for bug, also in ALSO.items() if made.__name__.startswith(bug)), set())
    assert failed(found) - allowed == {check}, [f for f in found if f.verdict == "fail"]
    assert told(found, check).what
    assert told(found, check).mend


@pytest.mark.slow
@pytest.mark.parametrize("made", CLEAN, ids=lambda made: made.__name__)
def test_the_adapter_without_the_bug_passes_every_check(made, options):
    assert failed(check_model(f"{FILE}:{made.__name__}", options.get(made.__mro__[-2]))) == set()
