"""What every adaptation method is: options, and ``fit``. Importing this, or any method, does not import PyTorch."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medeval_models.adaptation.fitting import Online
    from medeval_models.adaptation.learner import Learner

Images = Sequence["Tensor"]
Select = Literal["last", "entropy", "agreement"]


class AdaptationError(ValueError):
    """An adaptation that cannot be done on this model or these images; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """A way of adapting a segmentation network, whose forward gives logits (N, C, *spatial), to unlabelled images.

    A network of one output channel is taken as the logit of a binary foreground. Subclasses hold the options as fields.

    updates: what changes in the model. side_information: what is needed beside the images, "" if nothing.
    uses_labels: True for the ceiling alone. online: True when it can also adapt batch by batch at test time.
    """

    description: ClassVar[str] = ""
    updates: ClassVar[str] = ""
    side_information: ClassVar[str] = ""
    uses_labels: ClassVar[bool] = False
    online: ClassVar[bool] = False

    def fit(
        self,
        model: "nn.Module",
        target_images: Images,
        *,
        labels: Images | None = None,
        seed: int = 0,
        progress: Callable[[Any], None] | None = None,
        checkpoint: Any = None,
    ) -> "nn.Module":
        """A new network adapted to the images; ``model`` stays as it is.

        target_images: float tensors of preprocessed images, each (N, C, *spatial), read one at a time. A volume of slices
        is one tensor for a 2D network. labels: class numbers (N, *spatial) beside them, for the supervised ceiling alone.
        progress: called with ``training.Progress`` after every step. checkpoint: a path or ``training.Checkpoint``; a
        killed adaptation goes on from it and ends in the same weights, bit for bit on a CPU.
        The result's forward gives logits; its attribute ``adaptation`` is the ``training.Outcome``.
        Raises ``AdaptationError``: a model without the parts that the method needs, images that do not fit.
        """
        from medeval_models.adaptation.fitting import fit

        return fit(self, model, target_images, labels, seed, progress, checkpoint)

    def save(self, adapted: "nn.Module", path: str | Path) -> None:
        """Write an adapted network's weights and outcome as safetensors."""
        from medeval_models.adaptation.fitting import save

        save(adapted, Path(path))

    def load(self, model: "nn.Module", path: str | Path) -> "nn.Module":
        """What ``fit`` returned, from the source model and the file that ``save`` wrote."""
        from medeval_models.adaptation.fitting import load

        return load(self, model, Path(path))

    def start(self, model: "nn.Module", *, seed: int = 0) -> "Online":
        """Adaptation at test time: ``adapt(images)`` batch by batch. Raises ``AdaptationError`` where it needs a training set."""
        from medeval_models.adaptation.fitting import Online

        return Online(self, model, seed)

    def learner(self, model: "nn.Module") -> "Learner":
        """The method's machinery around a copy of the model."""
        raise NotImplementedError

    def named(self) -> Mapping[str, Any]:
        """The options as plain data."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class Trained(Adaptation):
    """Options of the methods that learn.

    epochs: passes over the target images. lr: learning rate. batch_size: target images (volumes) a step, of one size.
    slices: at most so many consecutive slices of a volume, from a random start each time; None: all.
    patch: spatial size of a random crop; None: whole images. select: the weights of the last epoch, or of the epoch with
    least entropy or most agreement (between the prediction and that of the image turned by 180 degrees, turned back) on
    the target images; neither looks at labels. precision: of forward passes; fp16 is for GPUs.
    """

    epochs: int = 1
    lr: float = 1e-4
    batch_size: int = 1
    slices: int | None = None
    patch: tuple[int, ...] | None = None
    select: Select = "last"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def __post_init__(self) -> None:
        """Raises ``AdaptationError`` for numbers out of range."""
        self._within("epochs", 1)
        self._within("batch_size", 1)
        self._within("lr", 0, inclusive=False)
        if self.slices is not None:
            self._within("slices", 1)
        if self.patch is not None and not (len(self.patch) in (2, 3) and min(self.patch) > 0):
            raise AdaptationError(f"patch {list(self.patch)}: two or three positive numbers are needed")

    def _within(self, name: str, low: float, high: float = math.inf, inclusive: bool = True) -> None:
        value = getattr(self, name)
        fits = low <= value <= high if inclusive else low < value <= high
        if not fits:
            bound = "" if high == math.inf else f" and at most {high:g}"
            raise AdaptationError(
                f"{name} {value}: must be {'at least' if inclusive else 'above'} {low:g}{bound}"
            )


def option_names(method: type[Adaptation]) -> list[str]:
    """The names of a method's options."""
    return [field.name for field in fields(method)]
