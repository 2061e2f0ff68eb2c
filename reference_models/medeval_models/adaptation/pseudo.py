"""Methods that learn from pseudo labels of the whole target set: SHOT, URMA and DPL."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from medeval_models.adaptation.base import Select, Trained  # noqa: F401

if TYPE_CHECKING:
    from torch import nn

    from medeval_models.adaptation.learner import Learner


@dataclass(frozen=True, kw_only=True)
class SHOT(Trained):
    """SHOT (arXiv 2002.08546), voxels as samples: information maximisation and labels of the nearest class centre; the head is frozen.

    head: name of the last layer; default the convolution made last. pseudo_weight: of the cross-entropy. voxels: at most
    so many of an image enter the centres.
    """

    description: ClassVar[str] = "information maximisation with centroid pseudo labels (SHOT)"
    updates: ClassVar[str] = "all weights but the last layer"

    lr: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 1e-3
    pseudo_weight: float = 0.3
    voxels: int = 4096
    head: str = ""

    def learner(self, model: "nn.Module") -> "Learner":
        """SGD with Nesterov momentum and a decaying rate."""
        from medeval_models.adaptation.pseudo_learners import SHOTLearner

        return SHOTLearner(self, model)


@dataclass(frozen=True, kw_only=True)
class URMA(Trained):
    """URMA (CVPR 2021): auxiliary heads on dropped-out features must agree with the main one; class-balanced pseudo labels.

    A round is ``epochs_per_round`` epochs; its labels cover ``portion`` of each class's voxels, ``portion_step`` more every
    round, at most ``portion_max``. heads: auxiliary ones, copies of the head, at ten times the rate. The main head is frozen.
    """

    description: ClassVar[str] = "uncertainty reduction by auxiliary heads (URMA)"
    updates: ClassVar[str] = "all weights but the last layer"

    epochs: int = 2
    lr: float = 5e-5
    momentum: float = 0.9
    weight_decay: float = 5e-4
    heads: int = 4
    dropout: float = 0.5
    pseudo_weight: float = 1.0
    entropy_weight: float = 1.0
    uncertainty_weight: float = 0.1
    epochs_per_round: int = 2
    portion: float = 0.2
    portion_step: float = 0.05
    portion_max: float = 0.5
    head: str = ""

    def __post_init__(self) -> None:
        """Raises ``AdaptationError`` for numbers out of range."""
        super().__post_init__()
        self._within("heads", 1)
        self._within("epochs_per_round", 1)
        self._within("portion", 0, 1)

    def learner(self, model: "nn.Module") -> "Learner":
        """SGD on the encoder and the auxiliary heads."""
        from medeval_models.adaptation.pseudo_learners import URMALearner

        return URMALearner(self, model)


@dataclass(frozen=True, kw_only=True)
class DPL(Trained):
    """DPL (arXiv 2109.09735): pseudo labels denoised by dropout uncertainty and class prototypes, made once, then trained on.

    For a softmax model each foreground class is taken against the rest. passes: with dropout, which the model must have.
    threshold: of the mean probability. most_uncertain: largest standard deviation. strength: of the weak augmentation
    (light, salt and pepper, erasing), 0 for none.
    """

    description: ClassVar[str] = "pseudo labels denoised by uncertainty and prototypes (DPL)"
    updates: ClassVar[str] = "all weights"

    epochs: int = 2
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.99)
    passes: int = 10
    threshold: float = 0.75
    most_uncertain: float = 0.05
    strength: float = 1.0
    head: str = ""

    def __post_init__(self) -> None:
        """Raises ``AdaptationError`` for numbers out of range."""
        super().__post_init__()
        self._within("passes", 2)
        self._within("threshold", 0, 1)

    def learner(self, model: "nn.Module") -> "Learner":
        """Adam on all weights."""
        from medeval_models.adaptation.pseudo_learners import DPLLearner

        return DPLLearner(self, model)
