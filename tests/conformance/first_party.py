"""What each first-party model needs to be built in a test: checkpoints of small networks, files of outputs, other models."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

SAM = {
    "image_size": 32, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "global_attn_indexes": (1,),
    "window_size": 3, "out_chans": 16, "decoder_mlp_dim": 32, "iou_head_hidden_dim": 12,
}  # fmt: skip
SAM_3D = {
    "image_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 4, "global_attn_indexes": (1,),
    "window_size": 3, "prompt_embed_dim": 48, "iou_head_hidden_dim": 64,
}  # fmt: skip
UNET = {
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
    "num_res_units": 0,
}
HEARTS = {"format": "medeval_suites.cardiac_phantoms:CardiacPhantoms", "patients": 2, "slices": 2}
PREDICTOR = '''
import numpy as np

class BoxPredictor:
    """SAM's interface: the box, or a square around the last point."""

    def set_image(self, image):
        self.shape = image.shape[:2]

    def predict(self, point_coords=None, point_labels=None, box=None, mask_input=None, multimask_output=True):
        mask = np.zeros(self.shape, bool)
        x, y = (0, 0) if point_coords is None else point_coords[0].astype(int)
        x0, y0, x1, y1 = (x - 4, y - 4, x + 5, y + 5) if box is None else box.astype(int)
        mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
        return mask[None], np.array([0.9]), np.zeros((1, 8, 8), np.float32)
'''


class World:
    """Options of registered names; files are written below ``folder`` when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def options(self, name: str) -> dict[str, Any]:
        """What the adapter ``name`` is built with: {} for whom nothing is said here, which is enough for most."""
        made = getattr(self, f"_{name.replace('-', '_')}", None)
        return made() if made else {}

    def data(self, name: str) -> dict[str, Any] | None:
        """The dataset that it is asked about, for sources of cases that the kit does not make."""
        if name != "physician-completions":
            return None
        line = {
            "prompt_id": "q1", "prompt": [{"role": "user", "content": "What helps scurvy?"}],
            "rubrics": [{"criterion": "Names vitamin C.", "points": 5, "tags": ["axis:accuracy"]}], "example_tags": ["theme:x"],
            "ideal_completions_data": {"ideal_completion": "Vitamin C."},
        }  # fmt: skip
        file = self.folder / "healthbench.jsonl"
        file.write_text(json.dumps(line) + "\n")
        return {"format": "healthbench", "file": str(file)}

    def _sam(self) -> dict[str, Any]:
        from medeval_models import sam_med2d

        return {
            "checkpoint": self._weights("sam.pth", lambda: {"model": sam_med2d.build(**SAM).state_dict()}),
            "device": "cpu",
        }

    _sam_med2d = _sam

    def _sam_med3d(self) -> dict[str, Any]:
        from medeval_models import sam_med3d

        def state():
            return {
                "model_state_dict": {k: 1.5 * v for k, v in sam_med3d.build(**SAM_3D).state_dict().items()}
            }

        return {"checkpoint": self._weights("sam3d.pth", state), "device": "cpu"}

    def _sam_predictor(self) -> dict[str, Any]:
        file = self.folder / "predictor.py"
        file.write_text(PREDICTOR)
        return {"predictor": "BoxPredictor", "file": str(file), "prompts": ["box", "points"]}

    def _slicewise(self) -> dict[str, Any]:
        return {"model": "region-growing", "prompts": "propagate"}

    def _torch_segmenter(self) -> dict[str, Any]:
        from monai.networks.nets import UNet

        checkpoint = self._weights("unet.pth", lambda: UNet(**UNET).state_dict())
        builder = {"builder": "monai.networks.nets:UNet", "arguments": UNET}
        return {**builder, "checkpoint": checkpoint, "device": "cpu", "channels": [0]}

    def _trained_segmenter(self) -> dict[str, Any]:
        return {
            "builder": "medeval_models.upl_sfda:build_source",
            "arguments": {"ft_chns": [2, 4, 8, 16, 32], "n_classes": 4},
            "classes": ["background", "lv", "myo", "rv"],
            "device": "cpu", "channels": [0], "training": {"dataset": HEARTS, "epochs": 1},
        }  # fmt: skip

    def _predictions(self) -> dict[str, Any]:
        import nibabel

        root = self.folder / "predictions"
        root.mkdir(exist_ok=True)
        for name, shape in (("conformance-2d", (48, 80)), ("conformance-3d", (24, 32, 40))):
            array = np.zeros(shape, np.uint8)
            array[3:9] = 1
            if len(shape) == 2:
                from PIL import Image

                Image.fromarray(array).save(root / f"{name}.png")
            else:
                nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), root / f"{name}.nii.gz")
        return {"root": str(root)}

    def _scores(self) -> dict[str, Any]:
        file = self.folder / "scores.csv"
        with file.open("w", newline="") as out:
            csv.writer(out).writerows([["case_id", "y_true", "score"], ["conformance-study", 1, 0.8]])
        return {"file": str(file)}

    def _dialogues(self) -> dict[str, Any]:
        from medeval.dialogue.cases import load_cases
        from medeval.dialogue.dataset import BUNDLED

        said = [
            {"role": "user", "content": "It hurts."},
            {"role": "assistant", "content": "FINAL DIAGNOSIS\n1. Flu"},
        ]
        file = self.folder / "dialogues.jsonl"
        file.write_text(json.dumps({"case": load_cases(BUNDLED)[0].id, "sample": 0, "messages": said}) + "\n")
        return {"file": str(file)}

    def _adami(self) -> dict[str, Any]:
        return {"prior": [0.4, 0.3, 0.3]}

    def _weights(self, name: str, state: Any) -> str:
        import torch

        path = self.folder / name
        if not path.exists():
            torch.manual_seed(0)
            torch.save(state(), path)
        return str(path)
