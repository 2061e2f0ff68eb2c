"""The ends of the scale: nothing adapted, statistics alone, and the ceiling that is trained on target labels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from medeval_models.adaptation.base import Adaptation, Select, Trained  # noqa: F401

if TYPE_CHECKING:
    from torch import nn

    from medeval_models.adaptation.learner import Learner


@dataclass(frozen=True, kw_only=True)
class SourceOnly(Adaptation):
    """The source model as it is."""

    description: ClassVar[str] = "the source model, not adapted"
    updates: ClassVar[str] = "nothing"
    online: ClassVar[bool] = True

    def learner(self, model: "nn.Module") -> "Learner":
        """A copy that is never changed."""
        from medeval_models.adaptation.simple_learners import NothingLearner

        return NothingLearner(self, model)


@dataclass(frozen=True, kw_only=True)
class PTBN(Adaptation):
    """Batch norm by target statistics, weights as they are (Nado et al. 2020; Li et al. 2016).

    statistics: "batch" normalises every image (its slices) by its own statistics at test time, PTBN; "target" by those of
    all target images, averaged once, AdaBN.
    """

    description: ClassVar[str] = "batch norm statistics of the target (PTBN, AdaBN)"
    updates: ClassVar[str] = "batch norm statistics"
    online: ClassVar[bool] = True

    statistics: Literal["batch", "target"] = "batch"

    def learner(self, model: "nn.Module") -> "Learner":
        """Forward passes that move the running statistics."""
        from medeval_models.adaptation.simple_learners import PTBNLearner

        return PTBNLearner(self, model)


@dataclass(frozen=True, kw_only=True)
class TargetSupervised(Trained):
    """The ceiling: the source model trained on with labels of the target images, soft Dice and cross-entropy, Adam."""

    description: ClassVar[str] = "trained on the target's labels: the ceiling, not an adaptation"
    updates: ClassVar[str] = "all weights"
    side_information: ClassVar[str] = "labels of the target images"
    uses_labels: ClassVar[bool] = True

    epochs: int = 10
    lr: float = 1e-3

    def learner(self, model: "nn.Module") -> "Learner":
        """Supervised training."""
        from medeval_models.adaptation.simple_learners import SupervisedLearner

        return SupervisedLearner(self, model)
