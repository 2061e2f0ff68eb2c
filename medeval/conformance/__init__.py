"""The conformance kit: is a model fit to be evaluated? ``medeval check my_models.py:MyModel``.

subjects.py      the model behind one question: what it is handed, what it answers, what is wrong with that
segmenting.py, studies.py, talking.py, sources.py, adapting.py    a subject for each protocol, and checks of its own
protocols.py     task -> its subjects
scenes.py        the seeded images, with decoys where a mistake in axes or spacing would look
findings.py      what a check finds, and which checks it rests on
contract.py      every protocol: the answer, its device and memory, inputs left alone
images.py        odd, blank and 16-bit images, axes without prompts
prompting.py     where prompts lie, empty ones, borders, rounds, batches
conversing.py    other questions of studies and conversations, and several at once
repeats.py       determinism, hidden state, memory
process.py, elsewhere.py, surroundings.py    another process; what is changed for a whole process
speed.py         seconds, told and not judged
kit.py           all of it as a table
"""

from medeval.conformance.findings import Finding
from medeval.conformance.kit import check_model, findings_table

__all__ = ["Finding", "check_model", "findings_table"]
