"""``python -m medeval.cli``."""

from medeval.cli import main

main()
