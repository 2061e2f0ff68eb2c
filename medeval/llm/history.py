"""What is left out when a conversation no longer fits the model's context.

The rule ``drop-oldest``: all system messages, the first message that is none (the opening complaint, or the question) and
the last exchange stay; of the exchanges between them the oldest quarter goes, then half, three quarters, all. An exchange
begins with a message of the assistant and holds what follows it, so roles still alternate and no tool's result loses its
call. The opening message says how many messages are missing, and the reply's ``trimmed`` keeps the number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from medeval.llm.messages import Message, Picture


def shorter(messages: Sequence[Message]) -> Iterator[tuple[tuple[Message, ...], int]]:
    """Ever shorter forms of a conversation, each with the number of messages left out; none when nothing may go."""
    head, exchanges = _parts(messages)
    middle = len(exchanges) - 1
    for count in sorted({-(-middle * quarter // 4) for quarter in (1, 2, 3, 4)} - {0}) if middle > 0 else ():
        gone = sum(len(exchange) for exchange in exchanges[:count])
        kept = [message for exchange in exchanges[count:] for message in exchange]
        yield (*head[:-1], _marked(head[-1], gone), *kept), gone


def _parts(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """What always stays at the front, and the exchanges after it."""
    opening = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    head = list(messages[: opening + 1])
    exchanges: list[list[Message]] = []
    for message in messages[opening + 1 :]:
        if message.role == "system":
            head.insert(len(head) - 1, message)
        elif message.role == "assistant" or not exchanges:
            exchanges.append([message])
        else:
            exchanges[-1].append(message)
    return head, exchanges


def _marked(message: Message, gone: int) -> Message:
    note = f"\n\n[{gone} messages after this one are left out: the conversation is longer than the context]"
    if isinstance(message.content, str):
        return replace(message, content=message.content + note)
    return replace(message, content=(*message.content, note))


def merged(messages: Sequence[Message], *, system: bool) -> tuple[Message, ...]:
    """The conversation for servers that want strictly alternating roles.

    Neighbours of one role become one message. system: also put the system messages in front of the first user message.
    """
    found: list[Message] = []
    for message in messages:
        role = "user" if system and message.role == "system" else message.role
        message = message if role == message.role else replace(message, role=role)
        plain = not (message.tool_calls or message.tool_call_id)
        if (
            found
            and plain
            and found[-1].role == role
            and not (found[-1].tool_calls or found[-1].tool_call_id)
        ):
            found[-1] = replace(found[-1], content=_joined(found[-1], message))
        else:
            found.append(message)
    return tuple(found)


def _joined(first: Message, second: Message) -> str | tuple[str | Picture, ...]:
    if isinstance(first.content, str) and isinstance(second.content, str):
        return f"{first.content}\n\n{second.content}"
    parts = [(m.content,) if isinstance(m.content, str) else m.content for m in (first, second)]
    return (*parts[0], *parts[1])
