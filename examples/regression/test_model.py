"""Quality by a paired test against the baseline in this folder; speed by pytest-benchmark.

pytest                                      # compare
pytest --medeval-update                     # a new baseline, after a change that is meant; then commit baselines/
pytest --benchmark-autosave                 # keep today's speed under .benchmarks
pytest --benchmark-compare --benchmark-compare-fail=median:50%
"""

from pathlib import Path

HERE = Path(__file__).parent


def test_quality(medeval_run, assert_no_regression):
    run = medeval_run(HERE / "suite.yaml")
    assert_no_regression(run, "baselines/mine", metric="dice", margin=0.01)


def test_speed(medeval_benchmark):
    medeval_benchmark(
        "model.py:Thresholding",
        {"format": "data.py:Disks", "patients": 4},
        {"task": "prompted-segmentation", "prompts": ["box"]},
    )
