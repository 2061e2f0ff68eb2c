"""The check of benchmark ratios against the stored baseline fails on a loss of 30%, and on nothing less."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

RATIOS = Path(__file__).resolve().parents[2] / "benchmarks" / "perf" / "ratios.py"


@pytest.fixture
def ratios(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("ratios", RATIOS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BASELINE", tmp_path / "baseline.json")
    return module


def run(ratios, tmp_path, monkeypatch, values, *flags):
    info = [{"row": k, "ratio": v, "ours_ms": 1.0, "theirs_ms": v, "peer": "p 1"} for k, v in values.items()]
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"benchmarks": [*({"extra_info": i} for i in info), {"extra_info": {}}]}))
    monkeypatch.setattr(sys, "argv", ["ratios.py", str(results), *flags])
    return ratios.main()


def test_losses(ratios, tmp_path, monkeypatch, capsys):
    stored = {"(a) x": 20.0, "(b) y": 100.0, "(b) one read of both maps": 0.3}
    assert run(ratios, tmp_path, monkeypatch, stored, "--store") == 0
    assert run(ratios, tmp_path, monkeypatch, {**stored, "(a) x": 14.5}, "--check") == 0
    assert run(ratios, tmp_path, monkeypatch, {**stored, "(b) one read of both maps": 0.1}, "--check") == 0
    assert run(ratios, tmp_path, monkeypatch, {**stored, "(a) x": 13.5}, "--check") == 1
    assert "LOST (a) x: 13.50, baseline 20.00" in capsys.readouterr().err
    assert run(ratios, tmp_path, monkeypatch, {"(a) x": 20.0}, "--check") == 1
    assert "(b) y: not measured" in capsys.readouterr().err
    assert run(ratios, tmp_path, monkeypatch, {"(a) x": 1.0}) == 0
