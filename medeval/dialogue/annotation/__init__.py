"""A local page on which people rate dialogues, blinded to who the doctor was.

work       what a rater sees: dialogues in an order of their own, items, nothing of the model
key        what the page calls the dialogues; the file that leads back stays with the maker
book       what a rater said: appended to a file at each click
server     HTTP on 127.0.0.1 alone, one page, no network
"""

from medeval.dialogue.annotation.book import Book
from medeval.dialogue.annotation.key import kept
from medeval.dialogue.annotation.server import Annotation
from medeval.dialogue.annotation.work import Work, rater_name

__all__ = ["Annotation", "Book", "Work", "kept", "rater_name"]
