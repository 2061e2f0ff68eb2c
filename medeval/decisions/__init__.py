"""From the records of finished runs to decisions: comparisons, tables, rankings, declared endpoints, provenance.

evidence.py      the records behind every score of a run
pairs.py         which models of which runs are compared, and whether it is the same work
compare.py       differences with interval, test, win/tie/loss
leaderboard.py   ranks by three schemes with their stability
layout.py        score rows laid out as rows x columns, best and second marked
formats.py       such a table as LaTeX, CSV, Markdown, HTML, Word
endpoint.py      the endpoint that a suite declares, and what became of it
verify.py        hashes of every part; the same numbers again
export.py        model card, MLflow, CSV
"""
