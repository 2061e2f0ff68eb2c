"""The training loss, its gradients, and the script's Dice and IoU, against the official code."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from medeval.metrics.masks import MaskPair  # noqa: E402
from medeval.metrics.registry import get_metric  # noqa: E402
from medeval_models.sam_med2d.losses import dice_loss, focal_loss, iou_loss, total_loss  # noqa: E402
from tests.parity.sam_med2d.cases import arrays, assert_close  # noqa: E402


@pytest.mark.parametrize("name", ["logits", "perfect", "all_background"])
def test_the_loss_and_its_gradients(name):
    case = {key: torch.from_numpy(values.copy()) for key, values in arrays("metrics_losses").items()}
    pred = case[f"{name}_pred"].requires_grad_()
    iou = case["pred_iou"].requires_grad_()
    target = case["gt"]
    parts = {
        "focal": focal_loss(pred, target),
        "diceloss": dice_loss(pred, target),
        "maskiou": iou_loss(pred, target, iou),
        "total": total_loss(pred, target, iou),
    }
    for part, value in parts.items():
        assert_close(value, case[f"{name}_{part}"].numpy())
    parts["total"].backward()
    assert_close(iou.grad, case[f"{name}_grad_pred_iou"].numpy())
    if name == "logits":
        assert_close(pred.grad, case["logits_grad_pred"].numpy())


PREDICTIONS = ["logits", "probs", "positive_logits", "all_background", "perfect", "binary"]


@pytest.mark.parametrize("name", PREDICTIONS)
def test_dice_and_iou_of_the_preset_are_the_official_ones(name):
    case = arrays("metrics_losses")
    pred, truth = case[f"{name}_pred"][:, 0], case["gt"][:, 0] > 0
    threshold = 0.0 if pred.min() < 0 else 0.5  # upstream takes the sigmoid only where a value is negative
    for metric in ("iou", "dice"):
        ours = [
            get_metric(f"{metric}:empty=1").observe(MaskPair(p > threshold, t, (1.0, 1.0))).statistic["value"]
            for p, t in zip(pred, truth, strict=True)
        ]
        np.testing.assert_allclose(ours, case[f"{name}_{metric}"], atol=1e-6)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_official_mean_is_over_masks(name):
    case = arrays("metrics_losses")
    means = [case[f"{name}_{metric}"].mean() for metric in ("iou", "dice")]
    np.testing.assert_allclose(means, case[f"{name}_segmetrics_iou_dice"], atol=1e-4)
