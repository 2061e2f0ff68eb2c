"""SAM-Med3D (arXiv 2310.15161): SAM rebuilt in three dimensions and trained from scratch on volumes; one click a volume.

    build.py            sizes meet parts: build(**config), VARIANTS (the official registry), sizes_of
    image_encoder.py    3D ViT with windows and a few global blocks
    attention.py        its attention, with all padding of a window as one key
    prompt_encoder.py   clicks and masks
    mask_decoder.py     SAM's decoder with a 3D way back to full size
    sam.py              the three parts together
    grids.py            between a volume's own grid and 1.5 mm, and back
    patches.py          where the 128^3 patch lies, and its normalisation
    clicks.py           the official click simulators, for training and for their own protocol
    losses.py           what training minimises
    common.py           the one layer that only 3D needs

Parts that are the same in 2D and 3D (two-way transformer, MLPs, tables of relative positions) are those of ``sam_med2d``.
Names and shapes of the state dict are those of the official code.
"""

from medeval_models.sam_med3d.build import VARIANTS, build, sizes_of
from medeval_models.sam_med3d.sam import Sam3D

__all__ = ["VARIANTS", "Sam3D", "build", "sizes_of"]
