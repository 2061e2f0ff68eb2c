"""The nouns of the house, and nothing else: frozen data that every floor above may use."""

from medeval.types.case import Case, CaseIndex, CaseInfo
from medeval.types.errors import (
    CaseFailure,
    DataError,
    DatasetError,
    EvaluatorFailure,
    InfrastructureFailure,
    MedevalError,
    MetricError,
    ModelFailure,
    PluginError,
    RunError,
    SuiteError,
    UserError,
    nearest,
)
from medeval.types.geometry import Grid, Image
from medeval.types.prompts import Capabilities, Prompt, Segmentation, Stroke
from medeval.types.seeds import digest, rng
from medeval.types.status import Status
from medeval.types.structures import LabelMap, MaskStack, Structures
from medeval.types.work import Failure, Key, Output, Spec, Unit

__all__ = [
    "Capabilities", "Case", "CaseFailure", "CaseIndex", "CaseInfo", "DataError", "DatasetError", "EvaluatorFailure",
    "Failure", "Grid", "Image", "InfrastructureFailure", "Key", "LabelMap", "MaskStack", "MedevalError", "MetricError",
    "ModelFailure", "Output", "PluginError", "Prompt", "RunError", "Segmentation", "Spec", "Status", "Stroke", "Structures",
    "SuiteError", "Unit", "UserError", "digest", "nearest", "rng",
]  # fmt: skip
