"""Diagnostic dialogues: cases, a simulated patient, the doctor's loop, rubrics and judges. Everything runs without an LLM.

cases.py agentclinic.py dataset.py   patient cases and where they come from
lexicon.py text.py files.py          a language's words as data, and how text is matched
questions.py patient.py measurement.py patient_llm.py ledger.py guards.py   the patient, and what it gave away
doctor.py finished.py scripted.py    the doctor under test, dialogues held elsewhere, doctors for tests
rubric.py judge_rules.py judge_llm.py panel.py diagnosis.py scoring.py      what a dialogue is worth
"""
