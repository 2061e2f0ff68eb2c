"""The domain-adaptation task in whole runs: no label is read, arms are paired by patient, scenarios, bad input."""

import json
import re
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from small_world import scores  # noqa: E402
from target_world import UPL, folder_of, records_of  # noqa: E402

import medeval  # noqa: E402
from medeval.types import SuiteError  # noqa: E402


def test_every_method_is_an_arm_beside_the_source_model(world):
    run = world.run()
    rows = scores(run, metric="dice", by="")
    assert [row["arm"] for row in rows] == ["source-only", "ptbn", "tent"]
    assert all(row["n"] == 12 and row["failed"] == {} for row in rows)
    assert (world.folder / "run" / "report.html").exists()


def test_gains_are_paired_and_patients_made_worse_are_counted(world):
    run = world.run(adaptations={"tent": {"lr": 0.05, "epochs": 5}})
    before, after = (scores(run, metric="dice", arm=arm)[0] for arm in ("source-only", "tent"))
    (gain,) = scores(run, metric="gain in dice")
    assert gain["value"] == pytest.approx(after["value"] - before["value"])
    assert gain["low"] <= gain["value"] <= gain["high"]
    (harm,) = scores(run, metric="made worse (dice)")
    assert harm["n"] == 3
    assert harm["value"] == pytest.approx(_worse(run) / 3)
    assert harm["low"] <= harm["value"] <= harm["high"]
    assert {row["metric"] for row in scores(run)} >= {"gain in assd", "made worse (assd)"}


def _worse(run):
    found = records_of(run)
    means = found.assign(patient=found["case"].str[:2]).groupby(["arm", "patient"])["dice"].mean().unstack(0)
    return int((means["tent"] < means["source-only"] - 1e-12).sum())


@pytest.mark.parametrize("damage", ["deleted", "permuted"])
def test_labels_of_target_training_cases_are_never_looked_at(world, damage):
    world.run(out="whole", adaptations={"tent": {}, "upl": UPL})
    masks = sorted((world.folder / "train" / "masks").iterdir())
    if damage == "deleted":
        for mask in masks:
            mask.unlink()
    else:
        contents = [mask.read_bytes() for mask in masks]
        for mask, content in zip(masks, contents[1:] + contents[:1], strict=True):
            mask.write_bytes(content)
    run = world.run(out="damaged", adaptations={"tent": {}, "upl": UPL})
    assert world.weights("damaged") == world.weights("whole")
    assert len(world.weights("whole")) == 2
    assert all(row["failed"] == {} for row in scores(run))


def test_a_killed_adaptation_goes_on_and_ends_in_the_same_weights(world, monkeypatch):
    from medeval.tasks.domain_adaptation.adaptations import JournalCheckpoint

    world.run(out="whole", adaptations={"upl": {**UPL, "epochs": 4}})
    write, read, count = JournalCheckpoint.write, [], []

    def killed_at_the_third(self, state):
        write(self, state)
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(JournalCheckpoint, "write", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        world.run(adaptations={"upl": {**UPL, "epochs": 4}})
    monkeypatch.setattr(JournalCheckpoint, "write", lambda self, state: (read.append(1), write(self, state)))
    world.run(adaptations={"upl": {**UPL, "epochs": 4}})
    assert len(read) == 2
    assert world.weights() == world.weights("whole")


def test_what_was_done_is_kept_with_the_weights(world):
    world.run(adaptations={"adami": {"prior": [0.7, 0.2, 0.1], "epochs": 2}})
    (facts, folder) = next((f, p) for f, p in world.artifacts() if f["stages"])
    assert "prior" in facts["side_information"]
    assert facts["stages"][0]["steps"] == 8
    assert len(facts["stages"][0]["history"]) == 2
    timing = json.loads((folder / "timing.json").read_text())
    assert timing["seconds"][0] > 0
    assert timing["peak_memory_bytes"] > 0
    assert "expected to have (prior)" in (world.folder / "run" / "report.html").read_text()


@pytest.mark.parametrize("answer", ["after", "before"])
def test_batches_at_test_time(world, answer):
    run = world.run(scenario="batch", batch_size=4, target=None, answer=answer, adaptations=["tent", "cotta"])
    frame = records_of(run)
    steps = frame[frame["arm"] == "tent"].groupby("case")["adaptation_steps"].first().tolist()
    assert steps == ([1, 1, 1, 1, 2, 2] if answer == "after" else [0, 0, 0, 0, 1, 1])
    assert scores(run, arm="tent", metric="dice")[0]["n"] == 12


def test_each_image_from_the_source_model_again(world):
    tent = {"tent": {"lr": 0.05}}
    run = world.run(scenario="image", target=None, steps=2, adaptations=tent)
    assert set(records_of(run).query("arm == 'tent'")["adaptation_steps"]) == {2}
    world.datasets["test"]["select"] = {"id": ["p2-c05"]}
    alone = world.run(out="alone", scenario="image", target=None, steps=2, adaptations=tent)
    pick = ["arm", "structure", "dice"]
    both = [
        records_of(r).query("case == 'p2-c05'")[pick].sort_values(pick).values.tolist() for r in (run, alone)
    ]
    assert both[0] == both[1]


def test_one_domain_after_another_shows_what_is_forgotten(world):
    world.datasets["clean"] = folder_of(world.folder / "clean", 3, 200, shift=0)
    run = world.run(
        scenario="continual", target=["train", "clean"], adaptations={"tent": {"lr": 0.02, "epochs": 3}}
    )
    frame = records_of(run)
    assert sorted(frame["round"].unique()) == [1, 2]
    tent = frame[frame["arm"] == "tent"].groupby("round")["dice"].mean()
    (row,) = scores(run, metric="forgotten dice", arm="tent")
    assert row["value"] == pytest.approx(tent[1] - tent[2])
    (still,) = scores(run, metric="forgotten dice", arm="source-only")
    assert still["value"] == 0
    assert scores(run, metric="dice", arm="tent", by="")[0]["value"] == pytest.approx(tent[2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adaptations": ["tnet"]}, "did you mean 'tent'"),
        ({"adaptations": {"tent": {"rate": 1}}}, "unknown option 'rate'"),
        ({"adaptations": {"tent": {"lr": "high"}}}, "tent: lr"),
        ({"adaptations": {"tent": {"lr": -1}}}, "lr -1"),
        ({"adaptations": ["adami"]}, "adami: missing option 'prior'"),
        ({"adaptations": {"source-only": {"lr": 1}}}, "takes no options"),
        ({"adaptations": 3}, "a list of methods"),
        ({"target": None}, "name the unlabelled training dataset"),
        ({"target": "nowhere"}, "nowhere"),
        ({"scenario": "image"}, "takes no `target`"),
        ({"scenario": "image", "target": None, "adaptations": ["shot"]}, "need the whole target set"),
    ],
)
def test_mistakes_are_told_before_anything_runs(world, changes, message):
    with pytest.raises(SuiteError, match=message.replace("(", r"\(")):
        world.run(**changes)


def test_a_model_without_a_network_is_refused(world):
    suite = world.suite(models={"empty": {"adapter": "empty"}})
    with pytest.raises(SuiteError, match="it has no `tensor`, `with_module`"):
        medeval.run(suite, world.folder / "run")


def test_a_model_without_batch_norm_fails_tent_and_says_so(world):
    network = world.folder / "plain.py"
    network.write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))\n"
    )
    namespace: dict = {}
    exec(network.read_text(), namespace)
    torch.save(namespace["build"]().state_dict(), world.folder / "plain.pth")
    world.model = {
        "adapter": "torch-segmenter",
        "builder": "plain.py:build",
        "checkpoint": "plain.pth",
        "device": "cpu",
    }
    run = world.run()
    failed = scores(run, arm="tent", metric="dice")[0]
    assert failed["failed"] == {"model_failed": 12}
    assert scores(run, arm="source-only", metric="dice")[0]["failed"] == {}
    assert records_of(run).query("arm == 'tent'")["error"].str.contains("has none").all()


def test_an_adaptation_that_explodes_is_told(world):
    run = world.run(adaptations={"tent": {"lr": 1e30, "epochs": 3}})
    assert records_of(run).query("arm == 'tent'")["adaptation_stopped"].str.contains("not finite").all()
    assert "net tent on test stopped early" in (world.folder / "run" / "report.html").read_text()
    assert all(row["failed"] == {} for row in scores(run))


def test_a_broken_target_image_is_named(world):
    path = world.folder / "train" / "images" / "p1-c01.png"
    path.write_bytes(path.read_bytes()[:50])
    run = world.run(adaptations=["ptbn"])
    assert scores(run, arm="ptbn", metric="dice")[0]["failed"] == {"data_error": 12}
    assert records_of(run).query("arm == 'ptbn'")["error"].str.contains("target case 'p1-c01' of train").all()


def test_the_ceiling_alone_is_given_labels(world):
    ceiling = {"target-supervised": {"epochs": 2, "lr": 1e-2}, "tent": {}}
    run = world.run(adaptations=ceiling)
    assert records_of(run)["error"].isna().all()
    report = (world.folder / "run" / "report.html").read_text()
    assert "the others are given none: target-supervised." in report
    masks = sorted((world.folder / "train" / "masks").iterdir())
    contents = [mask.read_bytes() for mask in masks]
    for mask, content in zip(masks, contents[1:] + contents[:1], strict=True):
        mask.write_bytes(content)
    again = world.run(out="permuted", adaptations=ceiling)
    assert len(set(world.weights()) & set(world.weights("permuted"))) == 1  # tent's, not the ceiling's
    assert records_of(again)["error"].isna().all()


def test_a_network_of_monai_in_the_guides_twenty_lines_of_yaml(world):
    nets = pytest.importorskip("monai.networks.nets")
    options = {"spatial_dims": 2, "in_channels": 1, "out_channels": 3, "channels": [4, 8, 16], "strides": [2, 2], "norm": "batch"}  # fmt: skip
    torch.save(nets.UNet(**options).state_dict(), world.folder / "mine.pth")
    guide = (Path(__file__).parents[2] / "docs" / "adaptation.md").read_text("utf-8")
    text = re.search(r"```yaml\n(.*?)```", guide, re.DOTALL).group(1)
    assert len(text.splitlines()) <= 20
    (world.folder / "mine.yaml").write_text(text)
    run = medeval.run(world.folder / "mine.yaml", world.folder / "run")
    assert {row["arm"] for row in scores(run, metric="dice")} == {"source-only", "tent", "upl-sfda"}
    assert all(row["failed"] == {} for row in scores(run))


def test_a_run_that_is_repeated_adapts_once(world):
    world.run()
    first = {p: p.stat().st_mtime_ns for _, folder in world.artifacts() for p in folder.iterdir()}
    shutil.rmtree(world.folder / "run" / "records")
    world.run()
    assert {p: p.stat().st_mtime_ns for _, folder in world.artifacts() for p in folder.iterdir()} == first
