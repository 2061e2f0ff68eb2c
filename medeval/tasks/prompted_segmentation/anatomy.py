"""Which region a structure belongs to, by the groups of SAM-Med3D's tables (arXiv 2310.15161), and whether it trained on it.

Structures go by their names as the field's datasets write them (TotalSegmentator, AMOS, BTCV, FLARE, BraTS, KiTS, FeTA);
a name that no group lists has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_UNSEEN_LESION = "unseen lesion"
_UNSEEN_ORGAN = "unseen organ"

# The first that matches counts: lesions of an organ before the organ.
_GROUPS: tuple[tuple[str, str], ...] = (
    (_UNSEEN_LESION, r"hepatic tumou?r|liver tumou?r|breast tumou?r"),
    ("lesion", r"tumou?r|lesion|edema|oedema|enhancing|necro|cyst"),
    (
        _UNSEEN_ORGAN,
        r"parotid|submandibular|pituitary|lacrimal|aorta tree|cerebellum|deep gr[ae]y|gr[ae]y matter|white matter|csf|"
        r"ventricular system|optic (nerve|chiasm)|cochlea",
    ),
    ("brain", r"brain"),
    ("cardiac", r"heart|atri(um|a)|myocardium|(?<!lateral )(?<!third )(?<!fourth )ventricle"),
    (
        "bone",
        r"clavicula|femur|humerus|\bribs?\b|sacrum|scapula|vertebra|\bhips?\b|sternum|skull|mandible|costal|bone",
    ),
    ("muscle", r"autochthon|gluteus|iliopsoas|muscle"),
    (
        "abdomen & thorax",
        r"adrenal|aorta|bladder|colon|eyeball|kidney|liver|lung|spleen|pancreas|stomach|duodenum|esophagus|oesophagus|"
        r"gall ?bladder|prostate|uterus|vena cava|postcava|portal vein|splenic vein|iliac|trachea|bowel|intestine|"
        r"thyroid|pulmonary|artery|vein|brachiocephalic",
    ),
)

ANATOMY_COLUMNS: Mapping[str, str] = {"anatomy": "string", "seen": "string"}


def anatomy(structure: str) -> str | None:
    """The group of a structure; instances (``rib#2``) go by the structure's name; None where no group lists it."""
    words = re.sub(r"[_\-\s]+", " ", structure.partition("#")[0].lower())
    return next((group for group, pattern in _GROUPS if re.search(pattern, words)), None)


def seen(structure: str) -> str | None:
    """ "unseen" for what SAM-Med3D calls so, "seen" for the other groups; None where no group lists the structure."""
    group = anatomy(structure)
    return None if group is None else "unseen" if group in (_UNSEEN_ORGAN, _UNSEEN_LESION) else "seen"
