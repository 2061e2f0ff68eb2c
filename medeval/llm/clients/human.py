"""A person in the terminal, in the place of a model: the doctor, the patient or the judge."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import TextIO

from medeval.llm.clients.base import Capabilities, ClientIdentity
from medeval.llm.errors import Kind, TransportError
from medeval.llm.messages import Message
from medeval.llm.replies import Finish, Reply, Usage
from medeval.llm.requests import ChatRequest


class HumanClient:
    """name: who sits there, for tables. show_system: print the system messages too.

    One question at a time is shown, however many dialogues run. An answer ends with an empty line; the end of the input
    (Ctrl-D) ends the dialogue. What is typed is kept in the run's journal, not in the cache.
    """

    def __init__(self, name: str = "human", show_system: bool = True) -> None:
        self._identity = ClientIdentity("human", name)
        self._show_system = show_system
        self._lock = threading.Lock()
        self.input: TextIO | None = None  # None: the process's own
        self.output: TextIO | None = None

    @property
    def identity(self) -> ClientIdentity:
        """Who answers."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """A person types JSON where an object is asked for; nothing is cached or charged."""
        return Capabilities(forms=("text",), cacheable=False, paid=False)

    async def complete(self, request: ChatRequest) -> Reply:
        """What the person types. Raises ``TransportError`` when the input has ended."""
        text = await asyncio.to_thread(self._answer, request)
        said = len(text.encode("utf-8")) // 4 + 1
        return Reply(
            text=text,
            finish=Finish.STOP,
            usage=Usage(request.prompt_tokens, said, estimated=True),
            model=self._identity.model,
        )

    def _answer(self, request: ChatRequest) -> str:
        source, target = self.input or sys.stdin, self.output or sys.stderr
        with self._lock:
            for message in self._new(request.messages):
                print(f"\n[{message.role}] {_printable(message.text)}", file=target)
            print(f"\n[{self._identity.model}] (end with an empty line)", file=target, flush=True)
            lines: list[str] = []
            while line := source.readline():
                if not line.strip() and lines:
                    return "\n".join(lines)
                lines += [line.rstrip("\n")] if line.strip() else []
        if lines:
            return "\n".join(lines)
        raise TransportError(Kind.BAD_REQUEST, f"the input of {self._identity.model} has ended")

    def _new(self, messages: tuple[Message, ...]) -> list[Message]:
        """The messages since the person last spoke; at first all of them."""
        spoken = [i for i, message in enumerate(messages) if message.role == "assistant"]
        new = messages[spoken[-1] + 1 :] if spoken else messages
        return [message for message in new if self._show_system or message.role != "system"]


def _printable(text: str) -> str:
    """The text without control characters, which could move the cursor or hide words."""
    return "".join(
        letter if letter in "\n\t" or letter.isprintable() else json.dumps(letter)[1:-1] for letter in text
    )
