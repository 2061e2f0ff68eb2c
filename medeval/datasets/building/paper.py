"""What the paper tells of its collection, to be shown beside a data set's own numbers.

Source: arXiv 2311.11969, figures of images and masks by modality, and of data sets by size.
"""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "arXiv 2311.11969"
IMAGES, MASKS = 4_596_802, 19_762_855
MODALITIES: Mapping[str, tuple[int, int]] = {
    "CT": (2_338_753, 12_547_037), "MR": (2_217_633, 7_147_784), "Endoscopy": (5_838, 19_388), "Dermoscopy": (7_935, 8_000),
    "PET": (11_956, 14_129), "X-ray": (6_407, 9_357), "Fundus": (3_501, 7_242), "Ultrasound": (2_968, 2_968),
    "Microscopy": (945, 5_894), "Histopathology": (866, 1_056),
}  # fmt: skip
# Lower bound of a size class -> data sets with so many images, and with so many masks.
SIZES: Mapping[int, tuple[int, int]] = {
    0: (2, 2), 100: (35, 22), 1_000: (58, 61), 10_000: (31, 30), 100_000: (14, 21), 1_000_000: (0, 4),
}  # fmt: skip
