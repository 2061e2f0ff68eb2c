"""What tasks of one answer a study share: batches of cases, one call and one record each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from medeval.tasks.base import Task
from medeval.tasks.context import Context
from medeval.types import Case, CaseFailure, CaseIndex, Failure, InfrastructureFailure, Key, Output, Unit


class StudyTask(Task):
    """One call of the model's one method (``methods[0]``) with a case's inputs, and one record."""

    batch_size: int = Field(256, ge=1, description="Cases a unit of work.")

    def units(self, index: CaseIndex) -> Iterator[Unit]:
        """Batches of consecutive cases: one study is too little for a file of its own."""
        for start in range(0, len(index), self.batch_size):
            yield Unit(index.ids[start : start + self.batch_size])

    def owed(self, case: Case, context: Context) -> Sequence[Key]:
        """One record a case."""
        return [Key()]

    def predict(self, model: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """One call a case."""
        [method] = self.methods
        columns = self.model_columns(model)
        for case in cases:
            try:
                value = context.call(case.id, method, getattr(model, method), case.inputs)
                yield Output(case.id, Key(), self.checked(value), columns=columns)
            except InfrastructureFailure:
                raise
            except CaseFailure as error:
                yield Failure(case.id, Key(), error.status, str(error))

    def model_columns(self, model: Any) -> Mapping[str, Any]:
        """Columns that the model itself gives to all of its records; none by default."""
        return {}

    def checked(self, value: Any) -> Any:
        """The answer as it is kept; by default as it came. Raises ``ModelFailure`` for one that no score can be made of."""
        return value
