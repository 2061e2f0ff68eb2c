"""Reference masks of scikit-image's bundled pictures, by stated rules. Each takes the picture and returns named masks.

A *silver* reference: no expert drew these outlines, classical operators did, from the same intensities that a model sees.
They are plausible by eye, and repeatable; a model's score against them says how far it agrees with the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
NUCLEUS_AREA = (
    40,
    400,
)  # pixels; smaller is stain noise, larger is several nuclei that the watershed left together
NUCLEUS_SOLIDITY = 0.85
MICROANEURYSM_AREA = (12, 100)
MICROANEURYSM_ECCENTRICITY = 0.85  # vessels are longer


def cell(picture: NDArray) -> dict[str, Mask]:
    """``cell``: Gaussian (sigma 2), Otsu, holes filled, the largest component. Quantitative phase image of one cell."""
    from scipy.ndimage import binary_fill_holes
    from skimage.filters import gaussian, threshold_otsu
    from skimage.measure import label

    smooth = gaussian(picture, 2, preserve_range=True)
    parts = label(binary_fill_holes(smooth > threshold_otsu(smooth)))
    return {"cell": parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))}


def immunohistochemistry(picture: NDArray) -> dict[str, Mask]:
    """``nucleus#k`` and ``epithelium``, from Ruifrok and Johnston's colour deconvolution (``rgb2hed``).

    Nuclei: haematoxylin, Gaussian (sigma 1), Otsu, opening (disk 2), holes filled, watershed of the distance transform from
    its peaks (5 pixels apart); segments of ``NUCLEUS_AREA`` and solidity >= ``NUCLEUS_SOLIDITY`` are kept, so not every
    nucleus is there. Epithelium: DAB, Gaussian (sigma 4), Otsu, pieces and holes under 2000 pixels removed.
    """
    from skimage.color import rgb2hed
    from skimage.filters import gaussian
    from skimage.measure import regionprops

    stains = rgb2hed(picture)
    segments = _watershed(gaussian(stains[..., 0], 1.0))
    low, high = NUCLEUS_AREA
    kept = [r for r in regionprops(segments) if low <= r.area <= high and r.solidity >= NUCLEUS_SOLIDITY]
    masks = {f"nucleus#{number}": segments == region.label for number, region in enumerate(kept)}
    return masks | {"epithelium": _smooth_region(gaussian(stains[..., 2], 4.0), 2000)}


def retina(picture: NDArray) -> dict[str, Mask]:
    """``vessels``: Sato's ridge filter on the green channel (sigma 3, 5, 7), hysteresis between its 89th and 95th percentile.

    Counted within the field of view (red > 40 after Gaussian sigma 3, eroded by 20 pixels); components under 300 pixels
    are removed. Thin vessels are missing, and part of the optic disc's rim is taken for one.
    """
    from scipy.ndimage import binary_erosion
    from skimage.filters import apply_hysteresis_threshold, gaussian, sato

    field = binary_erosion(gaussian(picture[..., 0], 3, preserve_range=True) > 40, iterations=20)
    ridges = sato(picture[..., 1].astype(np.float64), sigmas=(3, 5, 7), black_ridges=True) * field
    low, high = np.percentile(ridges[field], [89, 95])
    return {"vessels": _without_specks(apply_hysteresis_threshold(ridges, low, high), 300)}


def microaneurysms(picture: NDArray) -> dict[str, Mask]:
    """``microaneurysm#k``: Gaussian (sigma 1), black top-hat (disk 6), Otsu, compact components away from the border."""
    from skimage.filters import gaussian, threshold_otsu
    from skimage.measure import label, regionprops
    from skimage.morphology import black_tophat, disk

    dark = black_tophat(gaussian(picture, 1, preserve_range=True), disk(6))
    parts = label(dark > threshold_otsu(dark))
    low, high = MICROANEURYSM_AREA
    kept = [
        region
        for region in regionprops(parts)
        if low <= region.area <= high
        and region.eccentricity <= MICROANEURYSM_ECCENTRICITY
        and min(region.bbox[:2]) > 0
        and region.bbox[2] < parts.shape[0]
        and region.bbox[3] < parts.shape[1]
    ]
    return {f"microaneurysm#{number}": parts == region.label for number, region in enumerate(kept)}


RULES: Mapping[str, Callable[[NDArray], dict[str, Mask]]] = {
    "cell": cell,
    "ihc": immunohistochemistry,
    "microaneurysms": microaneurysms,
    "retina": retina,
}


def _watershed(stain: NDArray) -> NDArray[np.int32]:
    from scipy.ndimage import binary_fill_holes, binary_opening, distance_transform_edt
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu
    from skimage.measure import label
    from skimage.morphology import disk
    from skimage.segmentation import watershed

    mask = binary_fill_holes(binary_opening(stain > threshold_otsu(stain), disk(2)))
    depth = gaussian(distance_transform_edt(mask), 1)
    peaks = peak_local_max(depth, min_distance=5, labels=label(mask), exclude_border=False)
    markers = np.zeros(mask.shape, dtype=np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-depth, markers, mask=mask)


def _smooth_region(stain: NDArray, smallest: int) -> Mask:
    from skimage.filters import threshold_otsu

    solid = _without_specks(stain > threshold_otsu(stain), smallest)
    return ~_without_specks(~solid, smallest)


def _without_specks(mask: Mask, smallest: int) -> Mask:
    """Components (4-connected) of at least ``smallest`` pixels."""
    from scipy.ndimage import label

    parts, _ = label(mask)
    large = np.bincount(parts.ravel()) >= smallest
    large[0] = False
    return large[parts]
