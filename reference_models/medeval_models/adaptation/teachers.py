"""Methods with a teacher: mean teacher and CoTTA."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from medeval_models.adaptation.base import Select, Trained  # noqa: F401

if TYPE_CHECKING:
    from torch import nn

    from medeval_models.adaptation.learner import Learner


@dataclass(frozen=True, kw_only=True)
class MeanTeacher(Trained):
    """Mean teacher (arXiv 1703.01780) on target images alone: the student learns on perturbed images what its moving average says.

    decay: of the teacher. loss: squared distance of probabilities, or cross-entropy. strength: of the perturbation.
    The teacher is what predicts in the end.
    """

    description: ClassVar[str] = "student and exponential moving average (mean teacher, EMA)"
    updates: ClassVar[str] = "all weights, through their moving average"
    online: ClassVar[bool] = True

    decay: float = 0.99
    loss: Literal["mse", "cross-entropy"] = "mse"
    strength: float = 1.0

    def __post_init__(self) -> None:
        """Raises ``AdaptationError`` for numbers out of range."""
        super().__post_init__()
        self._within("decay", 0, 1)

    def learner(self, model: "nn.Module") -> "Learner":
        """Adam on the student."""
        from medeval_models.adaptation.teacher_learners import MeanTeacherLearner

        return MeanTeacherLearner(self, model)


@dataclass(frozen=True, kw_only=True)
class CoTTA(Trained):
    """CoTTA (arXiv 2203.13591): a teacher averaged over time and, where the source is unsure, over augmentations; stochastic restore.

    augmentations: number of augmented views that the teacher's logits are averaged over; they keep the geometry, but for
    flips that are undone. confident_above: mean largest probability of the source at and above which the plain teacher is
    used. restore: probability of every weight to return to the source's after a step.
    """

    description: ClassVar[str] = "continual adaptation by an averaged teacher with stochastic restore (CoTTA)"
    updates: ClassVar[str] = "all weights, batch statistics"
    online: ClassVar[bool] = True

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    decay: float = 0.999
    augmentations: int = 32
    confident_above: float = 0.92
    restore: float = 0.01
    strength: float = 1.0

    def __post_init__(self) -> None:
        """Raises ``AdaptationError`` for numbers out of range."""
        super().__post_init__()
        self._within("augmentations", 1)
        self._within("decay", 0, 1)
        self._within("restore", 0, 1)

    def learner(self, model: "nn.Module") -> "Learner":
        """Student, teacher and the frozen source."""
        from medeval_models.adaptation.teacher_learners import CoTTALearner

        return CoTTALearner(self, model)
