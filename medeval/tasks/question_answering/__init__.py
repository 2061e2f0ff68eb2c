"""Visual and textual question answering: multiple choice, closed and free answers."""

from medeval.tasks.question_answering.task import QuestionAnswering

__all__ = ["QuestionAnswering"]
