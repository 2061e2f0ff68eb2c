"""Which protocol a model is checked by: the named task's, or the first whose methods it has."""

from __future__ import annotations

from collections.abc import Mapping

from medeval.conformance.adapting import Adapting
from medeval.conformance.segmenting import Adaptable, Automatic, Promptable
from medeval.conformance.sources import Source
from medeval.conformance.studies import Classifying, Triaging
from medeval.conformance.subjects import Recipe, Subject
from medeval.conformance.talking import Client, Grading, Patients, Speaking
from medeval.types import PluginError

PROTOCOLS: Mapping[str, tuple[type[Subject], ...]] = {
    "prompted-segmentation": (Promptable,),
    "domain-adaptation": (Adaptable, Adapting),
    "segmentation": (Automatic,),
    "robustness": (Automatic,),
    "prompted-robustness": (Promptable,),
    "classification": (Classifying,),
    "triage": (Triaging,),
    "simulated-patient": (Patients, Speaking),
    "question-answering": (Speaking, Client),
    "healthbench": (Speaking, Client),
    "mini-cex": (Speaking, Client),
    "criteria-grading": (Grading,),
}


def subject_for(recipe: Recipe, task: str | None = None) -> Subject:
    """The model behind the protocol of ``task``, or behind the first one that it has the methods of.

    Raises ``PluginError`` for a task without checks, and a model that has no known protocol.
    """
    if task is not None and task not in PROTOCOLS:
        raise PluginError(f"task {task!r} has no conformance checks; {', '.join(PROTOCOLS)} have")
    plugin = recipe.plugin
    if getattr(plugin, "source", False):
        return Source(recipe)
    possible = (
        PROTOCOLS[task]
        if task
        else tuple(dict.fromkeys(kind for kinds in PROTOCOLS.values() for kind in kinds))
    )
    for kind in possible:
        if kind.fits(plugin):
            return kind(recipe)
    tasks = [task] if task else list(PROTOCOLS)
    wanted: dict[str, list[str]] = {}
    for name in tasks:
        wanted.setdefault(_methods(PROTOCOLS[name]), []).append(name)
    listed = "; or ".join(f"{methods} for {', '.join(names)}" for methods, names in wanted.items())
    raise PluginError(f"{recipe.reference}: it needs the methods {listed}")


def _methods(kinds: tuple[type[Subject], ...]) -> str:
    return " or ".join(f"`{'`, `'.join(kind.methods)}`" for kind in kinds)
