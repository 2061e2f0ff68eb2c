"""Scores with intervals: the cluster bootstrap, with patients as clusters.

Records of one patient are not independent, so patients are resampled and never records (Davison & Hinkley 1997, section
3.8; Field & Welsh 2007). The draws depend on (seed, dataset, patient ids) alone: every model, arm and metric of a
dataset sees the same resamples, and a difference of two scores is paired without further work.

    resamples = Resamples("amos", patients)                      # once a dataset
    estimate(metric, statistics, patients, resamples)            # a score
    paired_difference(metric, first, second, resamples)          # two models on the same draws

Tests are in ``paired`` (permutation by patient, Wilcoxon, effect sizes), ``auc`` (DeLong), ``proportions`` (exact and
clustered intervals, McNemar), ``corrections``, ``equivalence``, ``ranking``, ``subgroups`` and ``sample_size``.

Results do not depend on the order of the input rows, on the number of threads or on the BLAS in use.
"""

from medeval.statistics.estimates import (
    Estimate,
    estimate,
    estimates,
    interval_text,
    macro_estimate,
    paired_difference,
)
from medeval.statistics.incomplete import bounds
from medeval.statistics.labels import Labels
from medeval.statistics.resamples import Resamples, cluster_labels, clusters, pooled_clusters
from medeval.statistics.scores import Average, Sample

__all__ = [
    "Average",
    "Estimate",
    "Labels",
    "Resamples",
    "Sample",
    "bounds",
    "cluster_labels",
    "clusters",
    "estimate",
    "estimates",
    "interval_text",
    "macro_estimate",
    "paired_difference",
    "pooled_clusters",
]
