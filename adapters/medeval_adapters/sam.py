"""SAM (Kirillov et al. 2023), plain."""

from dataclasses import dataclass
from typing import ClassVar

from medeval_adapters.sam_base import PromptableSAM


@dataclass(kw_only=True, eq=False)
class SAM(PromptableSAM):
    """``sam_vit_b|l|h_*.pth``, or any checkpoint of its parts. The options are ``PromptableSAM``'s.

    The longest side fills 1024 pixels, colours are RGB, the mask prompt is the last logits, as SAM's own predictor has it.
    ``image_size: 256`` resizes the positions and keeps all other weights (the official SAM-Med2D script loses the mask
    tokens then). To compare with SAM-Med2D's tables, take its preparation too: ``preparation: loader``,
    ``channel_order: bgr``, ``mask_feedback: probabilities``.
    """

    description: ClassVar[str] = "SAM, the Segment Anything Model"
    trained_on: ClassVar[tuple[str, ...]] = ("SA-1B",)
