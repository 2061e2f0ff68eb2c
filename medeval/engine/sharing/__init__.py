"""Reports that may be sent outside: nobody is named, and no figure rests on a few."""

from medeval.engine.sharing.report import ShareOptions, share

__all__ = ["ShareOptions", "share"]
