"""Each of ten bugs, planted in three shipped adapters, is found by the check that is for it; the adapters pass."""

from pathlib import Path

import pytest
from planted import CASES, HOSTS

from medeval.conformance import check_model
from medeval_adapters.geodesic import Geodesic

FILE = Path(__file__).with_name("planted.py")
SLOW = pytest.mark.slow  # the fast marching of Geodesic, under the memory check


def param(host, *values):
    return pytest.param(*values, marks=SLOW if host is Geodesic else ())


def failed(found):
    return {finding.check for finding in found if finding.verdict == "fail"}


@pytest.mark.parametrize(("name", "check"), [param(host, name, check) for name, _, host, check in CASES])
def test_a_planted_bug_is_found_by_its_check(name, check):
    found = check_model(f"{FILE}:{name}")
    assert check in failed(found)
    told = next(finding for finding in found if finding.check == check)
    assert told.what
    assert told.mend


@pytest.mark.parametrize("host", [param(host, host.__name__) for host in HOSTS])
def test_the_adapter_without_the_bug_passes_every_check(host):
    assert failed(check_model(f"{FILE}:{host}")) == set()
