"""SAM's encoder ahead of its prompts: the same records in 2D and 3D, and how a GPU's streams are asked."""

import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nibabel = pytest.importorskip("nibabel")

from test_sam_med3d_suites import SLICES, nnunet  # noqa: E402

import medeval  # noqa: E402
from medeval_adapters import torch_common  # noqa: E402
from medeval_adapters.sam_med3d import SAMMed3D  # noqa: E402
from medeval_adapters.torch_common import beside, sent, side_stream, used_here  # noqa: E402
from medeval_models import sam_med2d  # noqa: E402


class AheadMed3D(SAMMed3D):
    """Opens the next volume ahead; its patches are embedded when they are asked for."""

    encodes_ahead = True
    threads: ClassVar[set[bool]] = set()

    def encode(self, image):
        self.threads.add(threading.current_thread() is threading.main_thread())
        return super().encode(image)


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    torch.save({"model": sam_med2d.build(**SLICES).state_dict()}, tmp_path / "small.pth")
    return str(tmp_path / "small.pth")


def compared(tmp_path, dataset, models, **task):
    """Records of two models without what names the model, side by side."""
    suite = {
        "name": "ahead", "datasets": {"set": dataset}, "models": dict(zip(("one", "other"), models, strict=True)),
        "tasks": [{"task": "prompted-segmentation", "metrics": ["dice", "iou"], **task}],
    }  # fmt: skip
    frame = medeval.run(suite, out=tmp_path / "run").records()
    assert set(frame["status"]) <= {"ok", "carried", "undefined"}
    return [
        frame[frame["model"] == name].drop(columns="model").reset_index(drop=True)
        for name in ("one", "other")
    ]


def volumes(root):
    """Three small CTs."""
    nnunet(root, "CT", 0)
    for number in (1, 2):
        for folder, suffix in (("imagesTs", "_0000"), ("labelsTs", "")):
            volume = nibabel.load(root / folder / f"case{suffix}.nii.gz")
            moved = np.roll(np.asarray(volume.dataobj), number, axis=0)
            nibabel.save(
                nibabel.Nifti1Image(moved, volume.affine), root / folder / f"case{number}{suffix}.nii.gz"
            )
    return {"format": "nnunet", "root": str(root)}


@pytest.mark.parametrize("adapter", ["sam", "sam-med2d"])
def test_pictures_get_the_same_records(small, checkpoint, adapter):
    model = {"adapter": adapter, "checkpoint": checkpoint, "device": "cpu"}
    one, other = compared(
        small.folder, small.pictures(), [model, model | {"encode_ahead": True}],
        prompts=["box", "2 points", "3 clicks", "box + 1 click"], frame=16,
    )  # fmt: skip
    assert len(one) > 40
    assert one.equals(other)


def test_volumes_slice_by_slice_get_the_same_records(tmp_path, checkpoint):
    dataset = volumes(tmp_path / "ct")
    model = {"adapter": "slicewise", "model": "sam-med2d", "checkpoint": checkpoint, "prompts": "propagate"}
    models = [model | {"options": {"device": "cpu", "encode_ahead": ahead}} for ahead in (False, True)]
    one, other = compared(tmp_path, dataset, models, prompts=["box", "2 clicks"])
    assert one.equals(other)


def test_volumes_that_are_opened_ahead_get_the_same_records(tmp_path, med3d_checkpoint):
    dataset = volumes(tmp_path / "ct")
    model = {"checkpoint": str(med3d_checkpoint), "device": "cpu"}
    models = [model | {"adapter": name} for name in ("sam-med3d", f"{__name__}:AheadMed3D")]
    one, other = compared(tmp_path, dataset, models, prompts=["2 clicks"])
    assert one.equals(other)
    assert AheadMed3D.threads == {True, False}


@pytest.mark.parametrize(("option", "expected"), [(None, False), (True, True), (False, False)])
def test_on_a_cpu_it_is_an_option(checkpoint, option, expected):
    from medeval_adapters.sam import SAM

    assert SAM(checkpoint=checkpoint, device="cpu", encode_ahead=option).encodes_ahead is expected


# -- no GPU here: what its streams are told -----------------------------------------------------------------------


class FakeCuda:
    """Notes what streams and events are told, in order."""

    def __init__(self):
        self.told = []
        self.current = "default"

    def current_stream(self, device):
        return self.current

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before

    def Event(self, blocking):  # noqa: N802  # as torch names it
        assert blocking
        note = self.told.append
        return SimpleNamespace(record=lambda _: note("recorded"), synchronize=lambda: note("waited for"))


class FakeTensor:
    is_cuda, device = True, "cuda:0"

    def __init__(self):
        self.told = []

    def record_stream(self, stream):
        self.told.append(("used on", stream))

    def pin_memory(self):
        self.told.append("pinned")
        return self

    def to(self, device, non_blocking=False):
        self.told.append(("to", device.type, non_blocking))
        return self


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setattr(torch_common, "import_torch", lambda: SimpleNamespace(cuda=fake))
    return fake


def test_work_beside_begins_after_what_was_given_and_is_done_when_its_block_ends(cuda):
    stream = SimpleNamespace(device="cuda:0", wait_stream=lambda other: cuda.told.append(f"after {other}"))
    with beside(stream):
        assert cuda.current is stream
        cuda.told.append("work")
    assert cuda.told == ["after default", "work", "recorded", "waited for"]
    assert cuda.current == "default"


def test_a_tensor_is_sent_by_pinned_memory_and_kept_while_another_stream_uses_it(cuda):
    tensor = FakeTensor()
    sent(tensor, torch.device("cuda", 0))
    used_here(tensor)
    assert tensor.told == ["pinned", ("to", "cuda", True), ("used on", "default")]


def test_a_cpu_has_no_streams():
    assert side_stream(torch.device("cpu")) is None
    with beside(None):
        tensor = sent(torch.from_numpy(np.ones(2)), torch.device("cpu"))
    used_here(tensor)
