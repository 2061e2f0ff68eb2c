"""The training loss and its gradients against the official code."""

import pytest

torch = pytest.importorskip("torch")

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
