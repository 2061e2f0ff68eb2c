"""How images are cut, scaled and filtered: the paper's way by default, each departure an option."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Axis = Literal["x", "y", "z"]
AREA = 0.00153  # 100 pixels of 256 x 256
SIDE = 0.5


class BuildOptions(BaseModel):
    """What decides the bytes of a built image or mask; recorded in ``build_log.json`` and in the cache of finished volumes.

    Defaults are the paper's (arXiv 2311.11969), as far as they are known: slices along all three axes as they are stored,
    each scaled by its own minimum and maximum, no CT window; shorter side at least half of the longer; masks of at least
    0.153 % of the image; one file a component of 8-connected pixels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    axes: tuple[Axis, ...] = Field(
        default=("x", "y", "z"), min_length=1, description="Slice along these axes."
    )
    orientation: Literal["stored", "upright"] = Field(
        default="stored",
        description="`stored`: the file's own axes, rows and columns as SimpleITK's arrays have them, which is how the "
        "paper's images lie. `upright`: RAS axes, each plane drawn as radiologists see it.",
    )
    letters: Literal["xyz", "zyx"] = Field(
        default="xyz",
        description="Letters of the volume's first, second and third axis. `zyx` calls the third x, as the names of the "
        "release seem to.",
    )
    scope: Literal["image", "volume"] = Field(
        default="image",
        description="Minimum and maximum (or percentiles) of each slice, or of the whole volume.",
    )
    percentiles: tuple[float, float] | None = Field(
        default=None, description="Clip to these percentiles of the scope, instead of minimum and maximum."
    )
    window: tuple[float, float] | None = Field(
        default=None, description="CT images: clip to LEVEL - WIDTH/2 .. LEVEL + WIDTH/2 (HU) instead."
    )
    min_side: float = Field(
        default=SIDE, ge=0, le=1, description="Smallest shorter side / longer side of an image."
    )
    min_area: float = Field(
        default=AREA, ge=0, lt=1, description="Smallest area of a mask, as a share of its image."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.axes)) < len(self.axes):
            raise ValueError(f"axes {self.axes} name one twice")
        if self.percentiles and not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"percentiles {self.percentiles} must be 0 <= low < high <= 100")
        if self.window and not self.window[1] > 0:
            raise ValueError(f"window {self.window} is LEVEL WIDTH, and the width must be above 0")
        return self
