"""What can be wrong with a data set in the SA-Med2D layout, and what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

KINDS: Mapping[str, str] = {
    "forbidden path": "an entry of the index is absolute, climbs, or leads out of the root by a link",
    "missing file": "the index names a file that is not there, or is empty",
    "name": "a name that does not follow the grammar, an unknown modality, a class id without a name",
    "broken file": "a file that cannot be read as a picture",
    "constant image": "an image of one value",
    "image like a mask": "an image of two values: a mask in the place of an image?",
    "no masks": "an image without a mask; the paper's builder leaves none",
    "shape mismatch": "a mask of another shape than its image",
    "not binary": "a mask of more than two values, or in colour",
    "empty mask": "a mask without foreground",
    "inverted mask": "a mask of more than half of the image that touches all four borders: foreground and background exchanged?",
    "small mask": "a mask below the area that was asked for (--min-area)",
    "doubled mask": "two masks of one structure with the same pixels in one image",
    "doubled image": "two images with the same pixels",
    "orphan": "a file in images/ or masks/ that no index names",
    "leak": "a patient in more than one split",
}  # fmt: skip
VOLUME_KINDS: Mapping[str, str] = {
    "missing file": "a label without an image beside it, or an empty file",
    "broken file": "a file that cannot be read as a volume",
    "constant image": "an image of one value",
    "odd spacing": "a voxel edge below 0.05 or above 20 mm: is the header in mm?",
    "grid mismatch": "a label of another shape, spacing or affine than its image",
    "unlike copy": "copies of one image, in several structures' folders, that differ",
    "not binary": "a label of more than two values, or of values that are no labels",
    "empty mask": "a label without foreground",
    "inverted mask": "a label of more than half of the volume that touches all six faces: foreground and background exchanged?",
    "doubled mask": "two structures of one case with the same voxels",
    "doubled image": "two cases with the same voxels",
    "orphan": "a NIfTI file that belongs to no case",
    "leak": "a patient, or an image, in both splits",
}  # fmt: skip
EXAMPLES = 20


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. kind: of ``KINDS`` or ``VOLUME_KINDS``; where: image, file or patient; what: a sentence."""

    kind: str
    where: str
    what: str


@dataclass
class Findings:
    """Counts and the first examples of each kind; ``found`` gets each one as it comes. kinds: what can be found."""

    found: Callable[[Finding], None] = lambda finding: None
    kinds: Mapping[str, str] = field(default_factory=lambda: KINDS)
    images: int = 0
    masks: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Finding]] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Count and pass on."""
        self.counts[finding.kind] += 1
        held = self.examples.setdefault(finding.kind, [])
        if len(held) < EXAMPLES:
            held.append(finding)
        self.found(finding)

    @property
    def clean(self) -> bool:
        """True when nothing was found."""
        return not self.counts

    @property
    def summary(self) -> str:
        """One sentence."""
        seen = f"{self.images:,} images and {self.masks:,} masks"
        return f"{seen}: nothing found" if self.clean else f"{seen}: {self.counts.total():,} findings"
