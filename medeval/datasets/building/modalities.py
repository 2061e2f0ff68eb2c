"""Which ``modality_sub`` a channel is: the words of nnU-Net's ``channel_names`` and of file names, in the release's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medeval.datasets.sa_med2d_names import MODALITIES
from medeval.types import DatasetError, nearest

# The values found in the release, section 2.2 of its description, by the words that data sets use for them.
_WORDS: Mapping[str, str] = {
    "ct": "ct_00", "cta": "ct_00", "cbct": "ct_00", "mr": "mr_00", "mri": "mr_00", "pet": "pet_00", "pt": "pet_00",
    "suv": "pet_00", "us": "ultrasound_00", "ultrasound": "ultrasound_00", "xray": "x_ray", "x_ray": "x_ray",
    "cxr": "x_ray", "dermoscopy": "dermoscopy_00", "endoscopy": "endoscopy_00", "fundus": "fundus_photography",
    "fundus_photography": "fundus_photography", "microscopy": "microscopy_00", "histopathology": "histopathology_00",
}  # fmt: skip
_SEQUENCES = (
    "adc", "cbf", "cbv", "cmr", "dwi", "flair", "hbv", "lge", "mprage", "mtt", "pd", "rcbf", "rcbv", "t1", "t1c", "t1ce",
    "t1gd", "t1w", "t2", "t2w", "tmax", "ttp",
)  # fmt: skip


def modality_of(channel: str) -> str | None:
    """``CT`` -> ct_00, ``T1`` -> mr_t1, ``x-ray`` -> x_ray; None for a word that says nothing (``noNorm``)."""
    word = channel.strip().lower().replace("-", "_").replace(" ", "_")
    if word in _WORDS:
        return _WORDS[word]
    bare = word.removeprefix("mri_").removeprefix("mr_")
    return f"mr_{bare}" if bare in _SEQUENCES else None


def check_modality(value: str) -> str:
    """A value given by the user: one of the ten modalities, with or without a sub-modality.

    ``ct`` becomes ct_00; ``x_ray`` and ``fundus_photography`` stand alone. Raises ``DatasetError``.
    """
    for name in MODALITIES:
        if value == name:
            return name if "_" in name else f"{name}_00"
        sub = value.removeprefix(f"{name}_")
        if value.startswith(f"{name}_") and sub.replace("_", "").isalnum() and "__" not in value:
            return value
    raise DatasetError(
        f"modality {value!r} is not MODALITY or MODALITY_SUB (ct_00, mr_t1, x_ray); {nearest(value, MODALITIES)}"
    )


def parse_modalities(given: Sequence[str]) -> dict[str, str]:
    """``["ct_00"]`` or ``["T1=mr_t1", "0=mr_t2"]`` -> channel name or number -> modality_sub; "" stands for every channel."""
    found: dict[str, str] = {}
    for text in given:
        channel, _, value = text.rpartition("=")
        if channel in found:
            raise DatasetError(f"--modality {text!r}: channel {channel!r} is given twice")
        found[channel] = check_modality(value.strip())
    return found


def modalities_for(channels: Sequence[str], given: Mapping[str, str], where: str) -> tuple[str, ...]:
    """The ``modality_sub`` of each channel: what was given, else what its name says.

    Raises ``DatasetError`` for a channel that says nothing, one that is given and not there, or two of one modality
    (their images would have one name).
    """
    known = {"", *channels, *(str(n) for n in range(len(channels)))}
    if unknown := set(given) - known:
        raise DatasetError(
            f"{where}: --modality names channel {min(unknown)!r}; {nearest(min(unknown), known - {''})}"
        )
    found = []
    for number, name in enumerate(channels):
        value = given.get(name) or given.get(str(number)) or given.get("") or modality_of(name)
        if value is None:
            raise DatasetError(
                f"{where}: channel {number} is called {name!r}, which is no modality; say which it is: "
                f"--modality {number}=mr_t1 (known: {', '.join(MODALITIES)}, with _SUB or _00)"
            )
        found.append(value)
    if twice := [value for value in found if found.count(value) > 1]:
        raise DatasetError(
            f"{where}: channels {[c for c, v in zip(channels, found, strict=True) if v == twice[0]]} would all be "
            f"{twice[0]!r}, and their images would have one name; tell them apart: --modality 0=mr_t1 --modality 1=mr_t2"
        )
    return tuple(found)
