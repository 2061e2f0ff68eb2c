"""How a run is executed; none of it changes its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from medeval.engine.devices import check_names
from medeval.engine.plan import Shard
from medeval.types import UserError, nearest

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class RunOptions:
    """How a run is executed; none of it changes its numbers.

    workers: processes that predict; None = one, or one a device of ``devices``, or all that a cluster has room for; 1 = this
    process, where nothing else asks for one of its own. shard: which part of the units. retry_errors: do units again whose
    failure was nobody's model's. fail_fast: stop at the first failure. report: write report.html at the end. score: False
    asks the models alone and keeps what they said, for ``score`` to measure later.

    engine: ``local`` (this machine) or ``ray``. address: of a Ray cluster (``auto``, ``host:port``, ``ray://host:port``);
    None = the one that RAY_ADDRESS names, else one of this machine, for this run alone. gpus_per_worker: of a Ray worker;
    0.5 lets two share one, 0 means CPU; None = 1 where the cluster has GPUs. devices: for ``local``: worker i works on
    ``devices[i % len(devices)]`` wherever a model's device is ``auto``.

    Raises ``UserError`` for options that contradict each other.
    """

    workers: int | None = None
    shard: Shard = field(default_factory=Shard)
    retry_errors: bool = False
    fail_fast: bool = False
    keep_predictions: bool = True
    save_predictions: bool = False
    report: bool = True
    score: bool = True
    engine: Engine = "local"
    address: str | None = None
    gpus_per_worker: float | None = None
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.score and not self.keep_predictions:
            raise UserError("--no-score with --no-keep-predictions would leave nothing; drop one of them")
        if self.engine not in get_args(Engine):
            raise UserError(f"--engine {self.engine!r}: {nearest(self.engine, get_args(Engine))}")
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers {self.workers}: at least 1 is needed")
        self._check_engine()
        check_names(self.devices)

    def _check_engine(self) -> None:
        if self.engine == "local" and (self.address is not None or self.gpus_per_worker is not None):
            raise UserError("--address and --gpus-per-worker are for --engine ray")
        if self.engine == "ray" and self.devices:
            raise UserError(
                "--devices is for --engine local; Ray gives GPUs out itself, see --gpus-per-worker"
            )
        gpus = self.gpus_per_worker
        if gpus is not None and not (0 <= gpus <= 1 or (gpus > 1 and gpus == int(gpus))):
            raise UserError(f"--gpus-per-worker {gpus:g}: a share from 0 to 1, or a whole number of GPUs")

    @property
    def processes(self) -> int:
        """Workers on this machine."""
        return self.workers or max(1, len(self.devices))
