"""Runs that lie elsewhere: worked on in a local working copy, published part by part, committed by a list.

On an object store nothing can be appended to, renamed or locked, and an upload that was cut may be seen under its final
name. So every object is written once, under a name that bears its digest, and counts only when a *commit* (one small object
of its own, with a check over itself) names it with size and SHA-256. What is torn or not committed is done again. The lock
keeps two writers from doing the same work; that nothing is corrupted does not depend on it.

commits/00000007-<writer>.json     what was put and dropped, in order of the numbers; some are checkpoints of earlier ones
records/<stem>.<digest>.parquet    and so on for every file of the run folder
shards/2-of-4/manifest.json ...    what each of several writers keeps for itself
locks/whole.json                   who writes, with a heartbeat
report.html, summary.json, manifest.json    plain copies for people
"""

from medeval.runs.remote.session import open_remote, opened_remote

__all__ = ["open_remote", "opened_remote"]
