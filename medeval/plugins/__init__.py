"""Names -> objects, and the check of their options. Everything that a suite can name is a plug-in.

A plug-in is named in one of three ways:

    random-walker               an entry point of a group such as ``medeval.adapters``
    my_package.models:Mine      a class that Python can import
    models/mine.py:Mine         a class in a plain file, relative to the suite's folder, then to the working directory

First-party plug-ins are registered through the same entry-point groups as a stranger's; the core has no list of its own.
A plug-in that does not import is remembered with its reason and stops no other.

    entry_points.py   what is registered
    files.py          plain Python files as plug-ins, with the siblings that they import
    references.py     the three ways of naming, and what identifies a plug-in's code
    signatures.py     which options a plug-in takes, as a pydantic model
    options.py        options checked, made plain, and used to build
    messages.py       pydantic's errors in the words of the person who wrote the suite
"""

from medeval.plugins.entry_points import broken, load_group, names, refresh
from medeval.plugins.messages import Complaint, complaints
from medeval.plugins.options import OptionsError, build, path_options, validate_options
from medeval.plugins.references import absolute, resolve, source_identity
from medeval.plugins.signatures import options_of

__all__ = [
    "Complaint", "OptionsError", "absolute", "broken", "build", "complaints", "load_group", "names", "options_of",
    "path_options", "refresh", "resolve", "source_identity", "validate_options",
]  # fmt: skip
