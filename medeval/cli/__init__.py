"""The command line: each command is one call into the library."""

from medeval.cli.commands import app, main

__all__ = ["app", "main"]
