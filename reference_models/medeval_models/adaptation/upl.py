"""UPL-SFDA and its ablations."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from medeval_models.adaptation.base import Adaptation, AdaptationError, Select, Trained  # noqa: F401

if TYPE_CHECKING:
    from torch import nn

    from medeval_models.adaptation.learner import Learner


@dataclass(frozen=True, kw_only=True)
class UPLSFDA(Trained):
    """UPL-SFDA (arXiv 2309.10244): the head is copied, each copy sees its own view, and their reliable mean teaches all.

    Defaults are those of the official 2D code. Axes 2 and 3 are turned, so 2D images need sides that the network takes in
    both orders.

    heads: copies of the decoder, 1 switches target-domain growing off. transforms: "fixed" quarter turns a head (official),
    "random" turns and flips (paper), or "none". feature_dropout: rate of channel dropout before each head's last layer, for
    models without dropout of their own.
    pseudo_weight, entropy_weight: of the two losses; 0 switches one off.
    threshold: a voxel is reliable where a class's mean probability exceeds it; 0 takes every voxel's likeliest class (naive
    self-training with heads 1). largest_component: keep each class's largest one alone.
    twice_forward: pseudo labels come from a forward pass of their own; False: from the pass that they supervise.
    form: Dice of the official code, or with the paper's mask of reliable voxels, see ``upl_sfda.losses``.
    betas_heads: Adam's for the heads, ``betas`` are the encoder's. statistics: after adaptation, batch norm by each image's own
    ("batch", as the official test does) or by the running ones.
    decoder: names of the modules to copy, head: of the last layer (for feature_dropout); default found by usual names.
    """

    description: ClassVar[str] = "grown heads, reliable pseudo labels, twice-forward supervision (UPL-SFDA)"
    updates: ClassVar[str] = "all weights, copies of the decoder"
    online: ClassVar[bool] = True

    epochs: int = 10
    lr: float = 1e-5
    slices: int | None = 10
    heads: int = 4
    transforms: Literal["fixed", "random", "none"] = "fixed"
    feature_dropout: float = 0.0
    threshold: float = 0.95
    largest_component: bool = True
    twice_forward: bool = True
    form: Literal["official", "masked"] = "official"
    pseudo_weight: float = 1.0
    entropy_weight: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    betas_heads: tuple[float, float] = (0.5, 0.999)
    statistics: Literal["batch", "running"] = "batch"
    decoder: str = ""
    head: str = ""

    def __post_init__(self) -> None:
        """Raises ``AdaptationError`` for numbers out of range."""
        super().__post_init__()
        self._within("heads", 1)
        self._within("threshold", 0, 1)
        self._within("feature_dropout", 0, 0.95)
        self._within("pseudo_weight", 0)
        self._within("entropy_weight", 0)
        if self.pseudo_weight == self.entropy_weight == 0:
            raise AdaptationError("pseudo_weight and entropy_weight are both 0: nothing would be learnt")

    def learner(self, model: "nn.Module") -> "Learner":
        """Adam on the encoder and all heads."""
        from medeval_models.adaptation.upl_learner import UPLLearner

        return UPLLearner(self, model)


@dataclass(frozen=True, kw_only=True)
class ViewEnsemble(Adaptation):
    """No learning: the mean prediction of the source under four quarter turns. Separates what ensembling adds from what learning adds.

    statistics: "running" ones of the source, or each image's own ("batch").
    """

    description: ClassVar[str] = "mean of four rotated predictions of the source, nothing learnt"
    updates: ClassVar[str] = "nothing"
    online: ClassVar[bool] = True

    heads: int = 4
    statistics: Literal["batch", "running"] = "running"

    def learner(self, model: "nn.Module") -> "Learner":
        """The source under several views."""
        from medeval_models.adaptation.upl_learner import EnsembleLearner

        return EnsembleLearner(self, model)
