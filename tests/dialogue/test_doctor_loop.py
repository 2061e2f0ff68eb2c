"""The doctor's loop: budget, stops, requests, what the doctor is shown, and that finished turns are never asked again."""

import asyncio
import json

import pytest
from stage import Says, bundled, talk

from medeval.dialogue.doctor import FORCED, Protocol, converse, doctor_messages, finished
from medeval.dialogue.files import DialogueFileError
from medeval.dialogue.finished import FinishedDialogues, dialogue_of
from medeval.dialogue.measurement import LookupExaminer
from medeval.dialogue.patient import RulePatient
from medeval.dialogue.patient_llm import ChatPatient
from medeval.dialogue.scripted import ScriptedDoctor
from medeval.dialogue.text import holds_phrase
from medeval.dialogue.turns import Dialogue, Turn
from medeval.llm.errors import RefusedReply, TruncatedReply
from medeval.llm.replies import Finish, Reply
from medeval.tasks.context import Context
from medeval.types import Case, DataError, EvaluatorFailure, Key, UserError

HEART, GOUT = bundled()["crushing-chest-pain"], bundled()["red-hot-toe"]
FINAL = "It fits.\nFINAL DIAGNOSIS:\n1. Gout\n2. Pseudogout"


def test_a_final_diagnosis_ends_the_dialogue():
    dialogue = talk(GOUT, Says(["When did it start?", FINAL, "more"]))
    assert dialogue.stop == "doctor_final"
    assert dialogue.diagnoses == ("Gout", "Pseudogout")
    assert [turn.speaker for turn in dialogue.turns] == ["patient", "doctor", "patient", "doctor"]
    assert dialogue.turns[0].text == GOUT.chief_complaint
    assert Dialogue.from_plain(json.loads(json.dumps(dialogue.to_plain()))) == dialogue


def test_at_the_end_of_the_budget_the_diagnosis_is_asked_for():
    doctor = Says(["When?"] * 3 + [FINAL])
    dialogue = talk(GOUT, doctor, Protocol(max_turns=4))
    assert dialogue.stop == "forced_final"
    assert dialogue.diagnoses[0] == "Gout"
    assert doctor.shown[-1][-1]["content"].endswith(FORCED)


def test_a_doctor_who_never_concludes_is_kept_as_undecided():
    dialogue = talk(GOUT, Says(["Where does it hurt?"]), Protocol(max_turns=5))
    assert (dialogue.stop, dialogue.diagnoses) == ("undecided", ())
    assert len(dialogue.of("doctor")) == 5


def test_a_doctor_who_says_nothing_is_heard_out_three_times():
    dialogue = talk(GOUT, style="mute")
    assert dialogue.stop == "silent"
    assert len(dialogue.of("doctor")) == 3
    assert dialogue.of("patient")[1].state == "silent"


def test_when_the_doctor_takes_leave_the_diagnosis_is_still_asked_for():
    dialogue = talk(GOUT, Says(["Take care of yourself, goodbye.", FINAL]))
    assert dialogue.stop == "forced_final"
    assert len(dialogue.of("doctor")) == 2


def test_requests_are_answered_by_the_examiner_and_questions_beside_them_by_the_patient():
    dialogue = talk(GOUT, Says(["REQUEST TEST: uric acid", "REQUEST TEST: brain scan\nDo you smoke?", FINAL]))
    assert [t.speaker for t in dialogue.turns] == [
        "patient",
        "doctor",
        "examiner",
        "doctor",
        "examiner",
        "patient",
        "doctor",
    ]
    assert "9.4 mg/dl" in dialogue.turns[2].text
    assert "not available" in dialogue.turns[4].text
    assert "smoking" in dialogue.turns[5].text
    assert [turn.number for turn in dialogue.turns] == list(range(1, 8))


def test_without_an_examiner_the_patient_hears_the_request():
    dialogue = talk(GOUT, Says(["REQUEST TEST: uric acid", FINAL]), Protocol(tests=False))
    assert [turn.speaker for turn in dialogue.turns] == ["patient", "doctor", "patient", "doctor"]
    assert "REQUEST TEST" not in Protocol(tests=False).prompt(GOUT)


@pytest.mark.parametrize("case", bundled().values(), ids=bundled())
def test_the_doctor_is_shown_nothing_of_the_reference(case):
    doctor = Says(["Tell me more.", "REQUEST TEST: everything", FINAL])
    talk(case, doctor)
    first = "\n".join(m["content"] for m in doctor.shown[0])
    assert not [name for name in case.diagnosis.names if holds_phrase(first, name)]
    assert not [fact.text for fact in case.facts if fact.text in first]


def test_roles_alternate_whatever_happened():
    turns = [
        Turn(1, "doctor", "a"),
        Turn(2, "doctor", ""),
        Turn(3, "examiner", "b"),
        Turn(4, "patient", "c"),
        Turn(5, "doctor", "d"),
    ]
    roles = [m["role"] for m in doctor_messages(turns, "system text")]
    assert roles == ["system", "assistant", "user", "assistant", "user"]


def test_the_doctor_may_open():
    doctor = Says(["What brings you here?", FINAL])
    dialogue = talk(GOUT, doctor, Protocol(opening="doctor"))
    assert dialogue.turns[0].speaker == "doctor"
    assert doctor.shown[0][-1]["role"] == "user"


@pytest.mark.parametrize("text", ["Diagnose {disease}", "Braces { here", "{0}"])
def test_a_system_prompt_with_an_unknown_field_is_refused(text):
    with pytest.raises(UserError, match=r"fields are \{turns\}"):
        Protocol(system=text)


def test_no_turns_is_refused():
    with pytest.raises(UserError, match="at least 1"):
        Protocol(max_turns=0)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(refusal="no"), RefusedReply),
        (Reply(text="cut", finish=Finish.LENGTH), TruncatedReply),
        (Reply(unclosed=True), TruncatedReply),
    ],
)
def test_a_refused_or_cut_reply_is_the_doctors_failure_with_its_own_status(reply, error):
    with pytest.raises(error):
        talk(GOUT, Says([reply]))


def test_thinking_reaches_neither_history_nor_patient():
    doctor = Says([Reply(text="When?", thinking="It is surely gout"), FINAL])
    dialogue = talk(GOUT, doctor)
    assert "surely" not in str(doctor.shown)
    assert "surely" not in str(dialogue)


def test_a_failing_patient_is_never_the_doctors_failure():
    patient = ChatPatient(GOUT.patient_view, Says([RefusedReply("no")]))

    async def run():
        return [t async for t in converse(Says(["When?"]), patient, GOUT)]

    with pytest.raises(EvaluatorFailure, match="patient"):
        asyncio.run(run())


class Kept:
    """A journal in memory that breaks after some steps."""

    def __init__(self):
        self.values, self.left = {}, 10**9

    def get(self, name):
        from medeval.tasks.context import MISSING

        return self.values.get(name, MISSING)

    def put(self, name, value):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.values[name] = json.loads(json.dumps(value))
        return self.values[name]


@pytest.mark.parametrize("stop_at", range(0, 15, 3))
def test_a_dialogue_that_was_cut_off_goes_on_at_its_turn_and_ends_the_same(stop_at):
    journal = Kept()
    context = Context(journal=journal)
    asked = []

    class Counting:
        def __init__(self):
            self.doctor = ScriptedDoctor().about(GOUT)

        async def ask(self, messages, *, sample=0):
            asked.append(len(messages))
            return await self.doctor.ask(messages, sample=sample)

    async def run():
        patient, examiner = RulePatient(GOUT.patient_view), LookupExaminer(GOUT.measurement_view)
        turns = converse(Counting(), patient, GOUT, examiner=examiner, step=context.astep, name="gout/0/")
        return finished([turn async for turn in turns])

    whole = talk(GOUT)
    journal.left = stop_at
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run())
    kept = len([name for name in journal.values if "doctor" in name])
    before = len(asked)
    journal.left = 10**9
    assert asyncio.run(run()) == whole
    assert len(asked) - before == len(whole.of("doctor")) - kept


# -- dialogues that were held elsewhere -----------------------------------------------------------------------------

LINE = {"case": "red-hot-toe", "messages": [
    {"role": "system", "content": "You are a doctor"}, {"role": "user", "content": "My toe hurts."},
    {"role": "assistant", "content": "Since when?"}, {"role": "user", "content": "Yesterday."},
    {"role": "assistant", "content": FINAL}]}  # fmt: skip


def test_finished_dialogues_are_read_by_case_and_sample(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(LINE) + "\n\n" + json.dumps({**LINE, "sample": 1, "diagnoses": ["Flu"]}))
    source = FinishedDialogues(file=path)
    case = Case("red-hot-toe", None, {})
    first = Dialogue.from_plain(source.output(case, Key("*")))
    assert [turn.speaker for turn in first.turns] == ["patient", "doctor", "patient", "doctor"]
    assert first.diagnoses == ("Gout", "Pseudogout")
    assert first.final is not None
    assert Dialogue.from_plain(source.output(case, Key("*", sample=1))).diagnoses == ("Flu",)
    with pytest.raises(DataError, match="no dialogue of case 'red-hot-toe', sample 2"):
        source.output(case, Key("*", sample=2))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "d.jsonl:1, line 1"),
        ('{"messages": []}', "`case` is missing"),
        ('{"case": "a"}', "`messages` must be a list"),
        (
            '{"case": "a", "messages": [{"role": "nurse", "content": "x"}]}',
            "message 1: expected role one of .*got role 'nurse'",
        ),
        ('{"case": "a", "messages": [{"role": "user", "content": null}]}', "content of type NoneType"),
        ('{"case": "a", "messages": ["hello"]}', "message 1"),
    ],
)
def test_a_line_that_is_no_dialogue_is_told_of(tmp_path, line, told):
    path = tmp_path / "d.jsonl"
    path.write_text(line)
    with pytest.raises(DialogueFileError, match=told):
        _ = FinishedDialogues(file=path).dialogues
    with pytest.raises(DataError, match=told):  # nobody's model is to blame
        FinishedDialogues(file=path).output(Case("a", None, {}), Key("*"))


def test_a_dialogue_twice_is_told_of(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n{json.dumps(LINE)}")
    with pytest.raises(DialogueFileError, match="occurs twice"):
        _ = FinishedDialogues(file=path).dialogues


def test_emoji_rtl_and_nul_in_a_dialogue_do_no_harm():
    odd = dialogue_of({"messages": [{"role": "assistant", "content": "😀 \u202eabc\x00 متى؟"}]}, "x")
    assert odd.turns[0].text
