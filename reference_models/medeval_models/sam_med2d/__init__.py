"""SAM-Med2D (arXiv 2308.16184): SAM's ViT with adapter layers at 256 x 256, and plain SAM from the same parts.

    build.py            sizes meet parts: build(**config), VARIANTS, sizes_of (read back from a checkpoint's shapes)
    image_encoder.py    ViTDet-style encoder: windows, a few global blocks, decomposed relative positions
    attention.py        that attention, through scaled_dot_product_attention
    adapter_layer.py    what SAM-Med2D adds to each block
    prompt_encoder.py   points, boxes and masks as tokens
    transformer.py      two-way attention between tokens and image
    mask_decoder.py     tokens and image to masks with predicted IoU
    sam.py              the three parts together, and logits brought to the image's own size
    common.py           layers that several parts use
    loading.py          checkpoints of other sizes: positions resized, what stays fresh

Names and shapes of the state dict are those of the official code, so its checkpoints load
(``medeval_models.weights`` reads them without running what they hold).
"""

from medeval_models.sam_med2d.build import VARIANTS, build, sizes_of
from medeval_models.sam_med2d.loading import UPSTREAM_FRESH, load_checkpoint, resize_positions
from medeval_models.sam_med2d.sam import Sam

__all__ = ["UPSTREAM_FRESH", "VARIANTS", "Sam", "build", "load_checkpoint", "resize_positions", "sizes_of"]
