"""Methods that make predictions confident: TENT, SAR and AdaMI."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from medeval_models.adaptation.base import AdaptationError, Select, Trained  # noqa: F401

if TYPE_CHECKING:
    from torch import nn

    from medeval_models.adaptation.learner import Learner


@dataclass(frozen=True, kw_only=True)
class Tent(Trained):
    """TENT (arXiv 2006.10726): entropy is minimised by the scale and shift of batch norm, under batch statistics.

    Defaults are those of UPL-SFDA's repository; the original has lr 1e-3, betas (0.9, 0.999), weight_decay 0.
    weights: "affine", or "all" for the ablation that lets every weight learn. dropout: keep the model's dropout on, as the
    repository does by training mode.
    """

    description: ClassVar[str] = "entropy minimisation by batch norm's scale and shift (TENT)"
    updates: ClassVar[str] = "batch norm scale and shift, batch statistics"
    online: ClassVar[bool] = True

    lr: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-4
    weights: Literal["affine", "all"] = "affine"
    dropout: bool = False

    def learner(self, model: "nn.Module") -> "Learner":
        """Adam on the affine parameters."""
        from medeval_models.adaptation.entropy_learners import TentLearner

        return TentLearner(self, model)


@dataclass(frozen=True, kw_only=True)
class SAR(Trained):
    """SAR (arXiv 2302.12400): sharpness-aware entropy minimisation on reliable voxels, by the scale and shift of any norm layer.

    margin: voxels with entropy below ``margin * ln(C)`` are reliable. rho: radius of the sharpness-aware step.
    reset_below: the model returns to the source when the moving average (0.9) of the loss falls below it, against collapse.
    """

    description: ClassVar[str] = "sharpness-aware entropy minimisation on reliable voxels (SAR)"
    updates: ClassVar[str] = "scale and shift of normalisation layers"
    online: ClassVar[bool] = True

    lr: float = 2.5e-4
    momentum: float = 0.9
    margin: float = 0.4
    rho: float = 0.05
    reset_below: float = 0.2

    def learner(self, model: "nn.Module") -> "Learner":
        """SGD with a climb before every step."""
        from medeval_models.adaptation.entropy_learners import SARLearner

        return SARLearner(self, model)


@dataclass(frozen=True, kw_only=True)
class AdaMI(Trained):
    """AdaMI (Bateson et al. 2022): weighted entropy, and class ratios of each image held to a prior by Kullback-Leibler.

    prior: share of each class in an image, background first; it comes from outside the images. priors: the same for each
    target image (its slices share it) in their order, such as tags of what is visible times the source's mean shares; they
    stand in the prior's place, which then only weighs the entropy. class_weights: of the entropy; default one minus the
    prior, scaled to sum 1. power: of the relative probabilities whose mean is the ratio.
    """

    description: ClassVar[str] = "entropy with a prior of class ratios (AdaMI)"
    updates: ClassVar[str] = "all weights"
    side_information: ClassVar[str] = "the class ratios that an image is expected to have (prior)"
    online: ClassVar[bool] = True

    prior: tuple[float, ...]
    priors: tuple[tuple[float, ...], ...] | None = None
    lr: float = 1e-6
    weight_decay: float = 1e-4
    class_weights: tuple[float, ...] | None = None
    power: float = 1.0
    ratio_weight: float = 1.0

    def __post_init__(self) -> None:
        """Raises ``AdaptationError`` for a prior that is none."""
        super().__post_init__()
        for name, prior in (
            ("prior", self.prior),
            *((f"priors {n}", p) for n, p in enumerate(self.priors or ())),
        ):
            if len(prior) < 2 or min(prior) < 0 or abs(sum(prior) - 1) > 1e-3:
                raise AdaptationError(
                    f"{name} {list(prior)}: shares of all classes, background first, of sum 1"
                )
            if len(prior) != len(self.prior):
                raise AdaptationError(f"{name}: {len(prior)} classes where the prior has {len(self.prior)}")
        if self.class_weights is not None and len(self.class_weights) != len(self.prior):
            raise AdaptationError(
                f"{len(self.class_weights)} class_weights for a prior of {len(self.prior)} classes"
            )

    def learner(self, model: "nn.Module") -> "Learner":
        """Adam on all weights."""
        from medeval_models.adaptation.entropy_learners import AdaMILearner

        return AdaMILearner(self, model)
