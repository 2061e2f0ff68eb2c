"""Names of the record columns that a metric has."""

from __future__ import annotations

import re

_PRODUCT = re.compile(r"\s+x\s+")


def rule_column(metric: str) -> str:
    """The column that says which rule a metric's value followed; null in the ordinary case."""
    return f"{metric}.rule"


def statistic_column(metric: str, field: str) -> str:
    """The column of one field of a metric's statistic; the field ``value`` is the metric's own column."""
    return metric if field == "value" else f"{metric}.{field}"


def columns_of(expression: str) -> tuple[str, ...]:
    """``"structure x modality"`` -> ``("structure", "modality")``."""
    return tuple(_PRODUCT.split(expression.strip()))
