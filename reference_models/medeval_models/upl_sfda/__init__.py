"""UPL-SFDA (arXiv 2309.10244): source-free adaptation by a grown target domain and reliable pseudo labels.

    build.py           sizes meet parts: build(**config), build_source(**config), DATASETS
    network.py         encoder with one head (source) or four, each under a spatial transform of its own (grown)
    unet2d.py          the 2D U-Net's encoder and decoder
    unet3d.py          the 3D U-Net's
    transforms.py      quarter turns and flips with exact inverses
    pseudo_labels.py   mean prediction, pseudo labels, reliability, largest components
    losses.py          Dice forms of the official 2D and 3D code, the paper's masked form, entropies

Names and shapes of the state dict are those of the official code. The adaptation itself, for this and any other
segmentation network, is ``medeval_models.adaptation``.
"""

from medeval_models.upl_sfda.build import DATASETS, build, build_source
from medeval_models.upl_sfda.losses import (
    batch_dice_loss,
    mean_entropy_loss,
    normalised_entropy,
    pseudo_label_loss,
    sample_dice_loss,
)
from medeval_models.upl_sfda.network import SourceUNet, UPLUNet
from medeval_models.upl_sfda.pseudo_labels import (
    largest_components,
    mean_prediction,
    pseudo_label,
    reliability_map,
    reliable_classes,
)
from medeval_models.upl_sfda.transforms import Spatial, fixed_transforms, random_transforms, rotate

__all__ = [
    "DATASETS", "SourceUNet", "Spatial", "UPLUNet", "batch_dice_loss", "build", "build_source", "fixed_transforms",
    "largest_components", "mean_entropy_loss", "mean_prediction", "normalised_entropy", "pseudo_label",
    "pseudo_label_loss", "random_transforms", "reliability_map", "reliable_classes", "rotate", "sample_dice_loss",
]  # fmt: skip
