"""``question-answering``: single-turn questions, multiple choice and open, with accuracy, calibration and position bias.

A question is asked ``samples`` times in each of ``shuffles`` orders of its options; all of them are records of that question,
and intervals resample patients (or questions). How a letter is read off a reply is stated in
``medeval.tasks.question_answering.answers``; a reply without one is ``unparsable``, the model's failure, and counted apart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from medeval.datasets.questions import LETTERS
from medeval.dialogue.roles import ChatOpener
from medeval.llm.errors import UnparsableReply
from medeval.metrics.answers import Answered
from medeval.tasks.base import ChatPlan, Scored, Task, ask_source, staged
from medeval.tasks.context import Context
from medeval.tasks.question_answering.answers import confidence_of, exactly, letter_of, open_answer
from medeval.tasks.question_answering.asking import asked, side_by_side, spent
from medeval.tasks.question_answering.judge import same_meaning
from medeval.tasks.question_answering.prompts import (
    PROMPT,
    Confidence,
    check_prompt,
    letter_probability,
    messages_of,
    shown_order,
)
from medeval.tasks.question_answering.summary import summarize
from medeval.tasks.summary import Evidence, Summary
from medeval.types import Case, CaseIndex, CaseInfo, Failure, Key, Output, Unit

Block = dict[str, Any]
CALIBRATION = ("answer_ece", "answer_brier", "answer_aurc")
_QUESTION, _LETTER, _THOUGHT, _VERDICT = 250, 10, 400, 60  # tokens, by guess, for the estimate before a run


class QuestionAnswering(Task):
    """Questions of the ``questions`` dataset. The model: ``async ask(messages, *, sample) -> Reply``.

    An output source gives ``{"text": reply}`` (or the text) for each sample instead.
    """

    pair: ClassVar[type] = Answered
    protocol: ClassVar[str] = "async ask(messages, *, sample=0) -> medeval.llm.Reply"
    methods: ClassVar[tuple[str, ...]] = ("ask",)
    needs: ClassVar[tuple[str, ...]] = ("question",)
    columns: ClassVar[Mapping[str, str]] = {
        "answer": "string",  # the letter as it was shown, or the open answer
        "chosen": "int32",  # position of the chosen option in the file
        "place": "int32",  # position at which the chosen option was shown, from 0
        "right_place": "int32",  # position at which the right option was shown
        "choices": "int32",  # options of the question
        "shuffle": "int32",
        "repeat": "int32",
        "confidence": "double",
        "judged": "string",  # an open answer's judge: its reason
        "characters": "int32",
        "tokens": "int64",
        "cost": "double",
        "judge_tokens": "int64",
    }

    task: Literal["question-answering"] = "question-answering"
    samples: int = Field(
        3, ge=1, description="How often each question is asked, in each order of its options."
    )
    shuffles: int = Field(
        1,
        ge=1,
        description="Orders of the options, each the last one rotated: as many as options balance them.",
    )
    shuffle: bool = Field(
        False, description="Begin with a random order (by seed) in the place of the file's."
    )
    reasoning: bool = Field(False, description="Ask for reasoning first, and for `Answer: X` at the end.")
    confidence: Confidence = Field(
        "none",
        description="`stated`: asked for in the prompt; `logprobs`: of the letter's token, where the server gives them.",
    )
    system: str = Field("", description="System prompt; empty: none.")
    prompt: str = Field(PROMPT, description="{context}, {question}, {options}, {instruction}.")
    batch_size: int = Field(8, ge=1, description="Questions a unit of work.")
    judge: Block | None = Field(
        None,
        description="Client block that compares open answers; default: exact match after normalisation.",
        json_schema_extra=staged("score"),
    )
    metrics: tuple[str, ...] = Field(("answer_accuracy",), json_schema_extra=staged("score"))

    _has_question = field_validator("prompt")(check_prompt)

    @model_validator(mode="after")
    def _calibration(self) -> Self:
        """With confidences asked for, calibration is measured unless other metrics are named."""
        if self.confidence != "none" and "metrics" not in self.model_fields_set:
            self.__dict__["metrics"] = ("answer_accuracy", *CALIBRATION)  # frozen, and not yet seen by anyone
        return self

    @field_validator("metrics")
    @classmethod
    def _accuracy_first(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        """The report's tables are made of it."""
        return metrics if "answer_accuracy" in metrics else ("answer_accuracy", *metrics)

    @property
    def asked_times(self) -> int:
        """Records a question."""
        return self.samples * self.shuffles

    # -- what is to be done -------------------------------------------------------------------------------------

    def units(self, index: CaseIndex) -> Iterator[Unit]:
        """``batch_size`` consecutive questions; finished replies are kept in the journal."""
        for start in range(0, len(index), self.batch_size):
            yield Unit(index.ids[start : start + self.batch_size])

    def owed(self, case: Case, context: Context) -> Sequence[Key]:
        """One record a sample and order.

        An open question has one order, and as many records all the same: else it would weigh less. Its equal prompts are one
        call (the cache joins them, also in flight).
        """
        return [Key(sample=number) for number in range(self.asked_times)]

    def owed_unread(self, info: CaseInfo, context: Context) -> Sequence[Key]:
        """The same."""
        return [Key(sample=number) for number in range(self.asked_times)]

    def calls(self, model: Any, info: CaseInfo, structures: int) -> int:
        """One a record."""
        return self.asked_times

    def chat_plan(self, info: CaseInfo) -> Sequence[ChatPlan]:
        """The model's calls and as many of the judge; tokens by guess, for no question is read before the run."""
        written = _THOUGHT if self.reasoning else _LETTER
        plans = [
            ChatPlan(
                "doctor", None, self.asked_times, self.asked_times * _QUESTION, self.asked_times * written
            )
        ]
        if self.judge is not None:
            read = self.asked_times * (_QUESTION + written)
            plans.append(ChatPlan("judge", self.judge, self.asked_times, read, self.asked_times * _VERDICT))
        return plans

    # -- execution ----------------------------------------------------------------------------------------------

    async def predict(
        self, model: Any, cases: Iterable[Case], context: Context
    ) -> AsyncIterator[Output | Failure]:
        """Ask every question in every order and sample at once; the harness bounds what is in flight."""

        async def ask(case: Case, number: int) -> Output:
            return await self._ask(model, case, number, context)

        async for event in side_by_side(cases, self.asked_times, ask):
            yield event

    async def _ask(self, model: Any, case: Case, number: int, context: Context) -> Output:
        repeat, shuffle = divmod(number, self.shuffles)
        order = self._order(case, shuffle, context)
        messages = messages_of(
            case.inputs, order, prompt=self.prompt, system_prompt=self.system, reasoning=self.reasoning,
            confidence=self.confidence,
        )  # fmt: skip

        async def step() -> dict[str, Any]:
            reply = await asked(model, messages, case.id, repeat, context)
            kept: dict[str, Any] = {"text": reply.text, "order": list(order), **spent(reply)}
            if self.confidence == "logprobs" and order:
                found = letter_of(reply.text, [case.inputs["options"][at] for at in order])
                letter = None if found.position is None else LETTERS[found.position]
                kept["confidence"] = letter and letter_probability(reply.raw, letter, len(order))
            return kept

        name = f"{case.id}/{number}"
        with context.dialogue(name):
            kept = await context.astep(name, step)
        columns = {
            "shuffle": shuffle,
            "repeat": repeat,
            "tokens": kept.pop("tokens"),
            "cost": kept.pop("cost"),
        }
        return Output(case.id, Key(sample=number), kept, columns=columns)

    def _order(self, case: Case, shuffle: int, context: Context) -> tuple[int, ...]:
        count = len(case.inputs["options"])
        base = context.rng("options", case.id).permutation(count).tolist() if self.shuffle else None
        return shown_order(count, shuffle, base)

    def replay(self, source: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """Replies of a source, read as if the options had been shown in the file's order unless it says ``order``."""
        for case in cases:
            for key in self.owed(case, context):
                found = ask_source(source, case, key, context)
                if isinstance(found, Output) and isinstance(found.value, str):
                    found = Output(found.case_id, key, {"text": found.value})
                yield found

    async def score(self, case: Case, output: Output, context: Context) -> Sequence[Scored]:
        """Read the answer and compare it. Raises ``UnparsableReply`` for a reply without one."""
        text = output.value["text"]
        options = case.inputs["options"]
        if options:
            correct, columns = self._choice(
                text, options, case.reference["answer"], output.value.get("order")
            )
        else:
            correct, columns = await self._open(text, case, context)
        confidence = output.value.get("confidence")
        if self.confidence == "stated":
            confidence = confidence_of(text)
        columns |= {"confidence": confidence, "characters": len(text)}
        pair = Answered(float(correct), confidence)
        return [Scored(output.key, {m.name: m.observe(pair) for m in self.bound_metrics}, columns)]

    def _choice(
        self, text: str, options: Sequence[str], right: int, order: Sequence[int] | None
    ) -> tuple[bool, dict[str, Any]]:
        order = list(range(len(options))) if order is None else list(order)
        found = letter_of(text, [options[at] for at in order])
        if found.position is None:
            raise UnparsableReply(f"{found.why}: {text[-200:]!r}", [text])
        chosen = order[found.position]
        return chosen == right, {
            "answer": LETTERS[found.position],
            "chosen": chosen,
            "place": found.position,
            "right_place": order.index(right),
            "choices": len(options),
        }

    async def _open(self, text: str, case: Case, context: Context) -> tuple[bool, dict[str, Any]]:
        """Equal answers get one verdict: the judge is not asked by sample."""
        answer, accepted = open_answer(text), case.reference["answer"]
        if exactly(answer, accepted) or self.judge is None:
            return exactly(answer, accepted), {
                "answer": answer,
                "judged": "exact match" if self.judge else None,
            }
        chat = ChatOpener(context)(self.judge, "judge")
        verdict, used = await same_meaning(chat, case.inputs["question"], accepted, answer)
        tokens = int(used.get("input", 0) + used.get("output", 0))
        return verdict.same, {"answer": answer, "judged": verdict.reason, "judge_tokens": tokens}

    def summarize(self, evidence: Evidence) -> Summary:
        """Scores and their groups; what was answered, spread between samples, position bias, calibration curves."""
        return summarize(self, evidence)
