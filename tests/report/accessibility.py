"""axe-core in the page: what of WCAG 2 A and AA and of its best practices is broken, seriously or critically."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from tests.report.browser import Browser

# the rules' selectors end in the elements; three of them name the place well enough
_RUN = """axe.run(%s, {resultTypes: ['violations'], preload: false}).then((found) => found.violations
    .filter((rule) => rule.impact === 'serious' || rule.impact === 'critical')
    .map((rule) => `${rule.id}: ${rule.nodes.length} at ` + rule.nodes.slice(0, 3).map((node) => node.target.join(' ')).join('; ')))"""


def serious(page: Browser, within: str = "") -> list[str]:
    """One line a rule that is broken: its name, how often, where. Skips where axe-core is not installed.

    within: selector of a part of the page; default: all of it.
    """
    pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    page.run((resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8") + ";0")
    found: list[str] = page.run(_RUN % (json.dumps(within) if within else "document"))
    return found
