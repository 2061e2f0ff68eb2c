"""Diagnostic dialogues: cases, a simulated patient, the doctor's loop, rubrics and judges. Everything runs without an LLM.

    cases agentclinic dataset        patient cases, what each role may see of them, and where they come from
    text lexicon judging files       words of a language as data, and how text is matched
    questions patient patient_llm    what is asked, and who answers it: rules, or a chat model
    measurement                      examinations and tests, from the case or not at all
    ledger guards                    what the patient gave away, and what it must not do
    turns chat doctor finished       a dialogue as data, the doctor under test, dialogues held elsewhere
    scripted                         good, curt, unsafe and mute doctors, and seeded degradations
    rubric ratings panel scoring     what is asked of a dialogue, what judges say, and what it is worth
    judge_rules judge_llm fencing    judges without and with a model, and how planted orders come to nothing
    diagnosis                        whether a named diagnosis is the reference
    roles                            a suite's blocks as patient, measurement agent and judges

rubrics/, cases/, lexicons/ and scripts/ are data; users bring their own by path.
"""
