"""Who is resampled: clusters (patients, or images where patients are unknown) and their bootstrap draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.statistics.labels import Labels, combined
from medeval.types.seeds import digest, rng

_SEPARATOR = "\x1f"  # between dataset and patient: a control character that no id of the field holds
_UNKNOWN = "\x1fcase\x1f"  # marks a cluster that is one case whose patient is not known
_BLOCK = 64  # resamples drawn by one generator: a longer run begins with the draws of a shorter one
_MANY = 512  # from so many patients on, each drawing serves 1 + _ORDERS resamples
_ORDERS = 7
_KEPT_BYTES = 64 * 2**20  # draws up to this size are kept for the next score, larger ones are drawn again


def clusters(patients: Sequence[str | None], cases: Sequence[str]) -> NDArray[np.str_]:
    """(n,) the cluster of each record: its patient, or its own case where the patient is None or empty.

    patients, cases: (n,) patient and case id of each record.
    """
    if len(patients) != len(cases):
        raise ValueError(
            f"{len(patients)} patients for {len(cases)} cases; one patient (or None) a case is needed"
        )
    known = [patient is not None and patient == patient and str(patient) != "" for patient in patients]
    return np.array(
        [str(p) if k else f"{_UNKNOWN}{c}" for p, k, c in zip(patients, known, cases, strict=True)], dtype=str
    )


def cluster_labels(patients: Labels, cases: Labels) -> Labels:
    """``clusters`` of columns that are labels; cases are all named."""
    width = len(cases.values)
    of_case = np.full(width, -2, dtype=np.int32)
    of_case[cases.codes] = patients.codes
    if (of_case[cases.codes] == patients.codes).all():  # a case is one patient's: the ordinary thing
        used = np.flatnonzero(of_case > -2)
        places = np.zeros(width, dtype=np.int64)
        places[used] = np.arange(len(used))
        rows = places[cases.codes]
    else:
        pairs, rows = np.unique(combined([patients.codes, cases.codes]), return_inverse=True)
        first = np.zeros(len(pairs), dtype=np.int64)
        first[rows[::-1]] = np.arange(len(rows))[::-1]
        return _named(patients[first], cases[first], rows)
    return _named(Labels(of_case[used], patients.values), Labels(used.astype(np.int32), cases.values), rows)


def _named(patients: Labels, cases: Labels, rows: NDArray) -> Labels:
    """The clusters of these pairs, spread over the rows that hold them."""
    names = Labels.of(clusters(patients.array().tolist(), cases.array().tolist()).tolist())
    return Labels(names.codes[rows], names.values)


def pooled_clusters(datasets: Sequence[str], patients: Sequence[str] | NDArray[np.str_]) -> NDArray[np.str_]:
    """(n,) clusters for a score over several datasets: patient "1" of two datasets is two patients.

    datasets, patients: (n,) dataset name and cluster (from ``clusters``) of each record.
    """
    return np.array([f"{d}{_SEPARATOR}{p}" for d, p in zip(datasets, patients, strict=True)], dtype=str)


class _Stratum:
    """The patients of one dataset and their draws."""

    def __init__(self, dataset: str, patients: tuple[str, ...], seed: int) -> None:
        self.dataset, self.patients, self._seed = dataset, patients, seed
        self._identity = digest(*patients)
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._permutations: list[NDArray[np.int64]] = []

    def _orders(self) -> list[NDArray[np.int64]]:
        """Random orders of the patients that make further resamples of one drawing; none for few patients.

        A permuted multinomial count is a multinomial count. What two resamples of one drawing share is how many patients
        were drawn 0, 1, 2 ... times, which hardly varies with many patients; drawing is most of a bootstrap's time there.
        """
        if len(self.patients) >= _MANY and not self._permutations:
            generator = rng(self._seed, "orders", self.dataset, self._identity)
            self._permutations = [generator.permutation(len(self.patients)) for _ in range(_ORDERS)]
        return self._permutations

    def block(self, number: int) -> NDArray[np.uint8]:
        """(_BLOCK, patients) how often each patient was drawn; uint8, for a count above 255 has probability < 1e-500."""
        if number in self._kept:
            return self._kept[number]
        size = len(self.patients)
        seed = int(digest(self._seed, "bootstrap", self.dataset, self._identity, number)[:32], 16)
        generator = np.random.Generator(np.random.SFC64(seed))
        counts = np.empty((_BLOCK, size), dtype=np.uint8)
        orders = self._orders()
        step = 1 + len(orders)
        for start, drawn in zip(
            range(0, _BLOCK, step), _positions(generator, _BLOCK // step, size), strict=True
        ):
            counts[start] = np.bincount(drawn, minlength=size)
            for at, order in enumerate(orders, start=start + 1):
                np.take(counts[start], order, out=counts[at])
        if (len(self._kept) + 1) * counts.nbytes <= _KEPT_BYTES:
            self._kept[number] = counts
        return counts


def _positions(generator: np.random.Generator, rows: int, size: int) -> NDArray[np.int64]:
    """(rows, size) uniform positions below ``size``: 32 random bits times the size, whose bias is below size / 2**32.

    Twice as fast as ``integers(size)``, and drawing is most of a bootstrap's time.
    """
    bits = generator.integers(0, 2**64, size=(rows, (size + 1) // 2), dtype=np.uint64).view(np.uint32)[
        :, :size
    ]
    return ((bits.astype(np.uint64) * np.uint64(size)) >> np.uint64(32)).view(np.int64)


class Resamples:
    """Bootstrap draws of a dataset's patients, as counts.

    dataset: its name; part of the seed, so that two datasets are drawn independently.
    patients: cluster of each case or record, in any order, repeats allowed (see ``clusters``).
    count: number of resamples. seed: the suite's seed.
    Raises ``ValueError`` for no patients or a count below 1.
    """

    def __init__(
        self, dataset: str, patients: Sequence[str] | NDArray[np.str_], count: int = 2000, seed: int = 0
    ) -> None:
        names = tuple(sorted(set(np.asarray(patients, dtype=str).tolist())))
        if not names:
            raise ValueError(f"dataset {dataset!r} has no patients to resample")
        if count < 1:
            raise ValueError(f"count of resamples is {count}; it must be at least 1")
        self.count, self.seed = count, seed
        self._strata: tuple[_Stratum, ...] = (_Stratum(dataset, names, seed),)
        self._index(names)

    @classmethod
    def pooled(cls, parts: Sequence[Resamples]) -> Resamples:
        """Resamples for a score over several datasets: each dataset is a stratum and keeps its own draws.

        Its clusters are those of ``pooled_clusters``. Raises ``ValueError`` unless all have one count, and names differ.
        """
        strata = sorted((stratum for part in parts for stratum in part._strata), key=lambda s: s.dataset)
        if len({part.count for part in parts}) != 1 or len({s.dataset for s in strata}) != len(strata):
            raise ValueError(f"cannot pool {[(s.dataset, p.count) for p in parts for s in p._strata]}: "
                             "the datasets must differ and the counts be equal")  # fmt: skip
        pooled = cls.__new__(cls)
        pooled.count, pooled.seed, pooled._strata = parts[0].count, parts[0].seed, tuple(strata)
        pooled._index(tuple(f"{s.dataset}{_SEPARATOR}{p}" for s in strata for p in s.patients))
        return pooled

    def _index(self, names: tuple[str, ...]) -> None:
        self.clusters = names
        self.strata = np.repeat(np.arange(len(self._strata)), [len(s.patients) for s in self._strata])
        self._code = {name: code for code, name in enumerate(names)}
        self._seen: tuple[Sequence[str], NDArray[np.int64]] | None = None

    def codes(self, patients: Sequence[str] | NDArray | Labels) -> NDArray[np.int64]:
        """(n,) position of each record's cluster in ``clusters``. Raises ``ValueError`` for one that is not there."""
        if isinstance(patients, Labels):
            return self._codes_of(patients)
        names = np.asarray(patients, dtype=str).tolist()
        try:
            return np.fromiter(map(self._code.__getitem__, names), dtype=np.int64, count=len(names))
        except KeyError as error:
            raise self._stranger(error.args[0]) from None

    def _codes_of(self, patients: Labels) -> NDArray[np.int64]:
        """``codes`` of labels: the slices of one column share their values, which are looked up once."""
        if self._seen is None or self._seen[0] is not patients.values:
            places = [self._code.get(str(name), -1) for name in patients.values]
            self._seen = (patients.values, np.array([*places, -1], dtype=np.int64))
        found = self._seen[1][patients.codes]
        if len(found) and found.min() < 0:
            raise self._stranger(patients[int(found.argmin())])
        return found

    def _stranger(self, name: Any) -> ValueError:
        datasets = ", ".join(repr(s.dataset) for s in self._strata)
        return ValueError(f"patient {name!r} is not among the {len(self.clusters)} patients of {datasets}")

    def unknown(self, codes: NDArray[np.int64]) -> int:
        """How many of these clusters are single cases whose patient is not known."""
        return sum(_UNKNOWN in self.clusters[code] for code in codes)

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """Yields (<= 64, clusters) counts, ``count`` rows in all; memory stays flat whatever the count."""
        for number, start in enumerate(range(0, self.count, _BLOCK)):
            rows = min(_BLOCK, self.count - start)
            parts = [stratum.block(number)[:rows] for stratum in self._strata]
            yield parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
