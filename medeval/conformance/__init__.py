"""The conformance kit: is a model fit to be evaluated? ``medeval check my_models.py:MyModel``.

scenes.py    the seeded images, with decoys where a swap of axes would look
subjects.py  the model behind one question, by protocol
findings.py  what a check finds
contract.py  shape, dtype, device, axis order, odd sizes, empty prompts, inputs left alone
repeats.py   determinism, batches, hidden state, other processes, memory
speed.py     seconds, told and not judged
kit.py       all of it as a table
"""

from medeval.conformance.findings import Finding
from medeval.conformance.kit import check_model, findings_table

__all__ = ["Finding", "check_model", "findings_table"]
