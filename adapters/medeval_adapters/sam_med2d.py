"""SAM-Med2D (arXiv 2308.16184), run as its evaluation script runs it."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from medeval_adapters.sam_base import PromptableSAM
from medeval_adapters.sam_frames import Preparation
from medeval_adapters.sam_prompts import Feedback


@dataclass(kw_only=True, eq=False)
class SAMMed2D(PromptableSAM):
    """``sam-med2d_b.pth`` or ``ft-sam_b.pth``. The options are ``PromptableSAM``'s; these are the defaults of test.py.

    Small images are centred on zeros and others stretched to 256 x 256 by the nearest pixel; colours are seen as BGR; the
    mask prompt is the sigmoid of the last logits; the best of three masks by predicted IoU is taken in every round.
    ``preparation: stretch`` with ``channel_order: rgb`` is what its predictor does, ``encoder_adapter: false`` the
    paper's "SAM-Med2D*".
    """

    description: ClassVar[str] = "SAM-Med2D: SAM ViT-B with adapter layers at 256 x 256"
    trained_on: ClassVar[tuple[str, ...]] = ("SA-Med2D-20M",)

    preparation: Preparation = "loader"
    channel_order: Literal["rgb", "bgr"] = "bgr"
    mask_feedback: Feedback = "probabilities"
