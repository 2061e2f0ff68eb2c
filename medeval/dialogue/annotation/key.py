"""The key that leads from what a rater sees to dialogues: a drawn token each, which tells nothing of case, sample or model.

It is a file beside the answers and stays with whoever made the page; the page gets tokens alone, the answers are kept under
the dialogues' own ids. All raters see the same tokens, so that they can talk of a dialogue.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from medeval.dialogue.files import DialogueFileError, parsed_json, read_text

KEY = "key.json"


def drawn(ids: Iterable[str], known: Mapping[str, str] | None = None) -> dict[str, str]:
    """id -> token: those that are ``known``, and new ones of eight hex digits for the rest."""
    tokens = dict(known or {})
    taken = set(tokens.values())
    for name in ids:
        while name not in tokens:
            token = secrets.token_hex(4)  # no hash: an id that can be guessed could be looked for
            if token not in taken:
                tokens[name] = token
                taken.add(token)
    return tokens


def kept(folder: Path, ids: Iterable[str]) -> dict[str, str]:
    """id -> token of these dialogues, from the folder's key file, which gains those that it has not yet.

    Two pages that open at once agree. Raises ``DialogueFileError`` for a file that cannot be read or written, or is no key.
    """
    wanted = list(ids)
    path = folder / KEY
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f".{KEY}.lock").open("w") as handle:
            _hold(handle.fileno())
            known = _read(path)
            tokens = drawn(wanted, known)
            if tokens != known:
                _write(path, tokens)
    except OSError as error:
        raise DialogueFileError(f"{path}: {error.strerror}") from error
    return {name: tokens[name] for name in wanted}


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    found = parsed_json(read_text(path), str(path))
    texts = isinstance(found, dict) and all(isinstance(name, str) for name in found.values())
    if not texts or len(set(found.values())) != len(found):
        raise DialogueFileError(f"{path}: expected a token for each dialogue, no two the same")
    return {name: token for token, name in found.items()}


def _write(path: Path, tokens: Mapping[str, str]) -> None:
    """token -> id, whole or not at all, readable by its maker alone."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps({token: name for name, token in tokens.items()}, indent=1, ensure_ascii=False)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text + "\n")
    partial.replace(path)


def _hold(descriptor: int) -> None:
    """Wait for the lock; without advisory locks (Windows) the last page's new tokens stand."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
