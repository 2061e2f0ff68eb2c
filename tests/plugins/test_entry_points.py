"""Registered names: listed without importing, loaded one by one, broken ones told with their reason."""

from __future__ import annotations

import sys

import pytest

from medeval.plugins import broken, load_group, names, resolve, source_identity
from medeval.types import PluginError

GROUP = "medeval.test"
GOOD = "class Good: pass\n"


def test_names_lists_without_importing(install):
    install("stranger", {"good_plugin.py": GOOD}, {GROUP: {"good": "good_plugin:Good"}})
    assert names(GROUP) == {"good": "good_plugin:Good"}
    assert "good_plugin" not in sys.modules


def test_a_plugin_that_does_not_import_stops_no_other(install):
    install(
        "stranger",
        {
            "good_plugin.py": GOOD,
            "bad_plugin.py": "x = 1\nraise RuntimeError('no licence')\n",
            "exits.py": "exit(3)\n",
        },
        {
            GROUP: {
                "good": "good_plugin:Good",
                "bad": "bad_plugin:Bad",
                "exits": "exits:X",
                "gone": "good_plugin:Gone",
            }
        },
    )
    assert set(load_group(GROUP)) == {"good"}
    reasons = broken(GROUP)
    assert set(reasons) == {"bad", "exits", "gone"}
    assert "RuntimeError: no licence" in reasons["bad"]
    assert "bad_plugin.py:2" in reasons["bad"]
    assert "has no attribute 'Gone'" in reasons["gone"]


def test_a_caller_cannot_change_what_others_get(install):
    install("stranger", {"good_plugin.py": GOOD}, {GROUP: {"good": "good_plugin:Good"}})
    load_group(GROUP).clear()
    assert set(load_group(GROUP)) == {"good"}


def test_resolve_imports_only_what_is_asked_for(install):
    install(
        "stranger",
        {"good_plugin.py": GOOD, "other_plugin.py": GOOD},
        {GROUP: {"good": "good_plugin:Good", "other": "other_plugin:Good"}},
    )
    assert resolve(GROUP, "good").__name__ == "Good"
    assert "other_plugin" not in sys.modules


def test_unknown_name_lists_the_known_ones_and_the_nearest(install):
    install("stranger", {}, {GROUP: {"random-walker": "a:B", "empty": "a:C"}})
    with pytest.raises(
        PluginError, match=r"unknown test 'random-walk'; did you mean 'random-walker'\? known: empty, random"
    ):
        resolve(GROUP, "random-walk")


def test_missing_dependency_names_the_extra_that_brings_it(install):
    install(
        "stranger",
        {"needs.py": "import zz_not_there\n"},
        {GROUP: {"needs": "needs:X"}},
        requires='Requires-Dist: zz-not-there>=2 ; extra == "gpu"\nProvides-Extra: gpu\n',
    )
    with pytest.raises(
        PluginError, match=r"No module named 'zz_not_there' \(.*needs.py:1\); `pip install 'stranger\[gpu\]'`"
    ):
        resolve(GROUP, "needs")


def test_a_name_that_two_distributions_claim_is_refused(install):
    install("one", {"one_plugin.py": GOOD}, {GROUP: {"good": "one_plugin:Good"}})
    install("two", {"two_plugin.py": GOOD}, {GROUP: {"good": "two_plugin:Good"}})
    with pytest.raises(PluginError, match=r"claimed by several distributions: .*\(one\)"):
        resolve(GROUP, "good")
    assert resolve(GROUP, "one_plugin:Good").__module__ == "one_plugin"
    assert "good" in broken(GROUP)


def test_an_installed_plugin_is_identified_by_distribution_and_version(install):
    install("stranger", {"good_plugin.py": GOOD}, {GROUP: {"good": "good_plugin:Good"}})
    assert source_identity("good", group=GROUP) == "stranger==1.2"


def test_an_editable_install_is_identified_by_its_source_too(install):
    site = install("stranger2", {"editable_plugin.py": GOOD}, {GROUP: {"good": "editable_plugin:Good"}})
    (site / "stranger2-1.2.dist-info" / "direct_url.json").write_text(
        '{"url": "file:///x", "dir_info": {"editable": true}}'
    )
    before = source_identity("good", group=GROUP)
    assert before.startswith("stranger2==1.2 sha256:")
    (site / "editable_plugin.py").write_text(GOOD + "# edited\n")
    assert source_identity("good", group=GROUP) != before
