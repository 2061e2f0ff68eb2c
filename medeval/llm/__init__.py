"""Chat models: one asynchronous protocol, a client per way of reaching a model, and the harness all calls go through.

async with Harness({"budget": {"tokens": 100_000}}, folder=Path("run/llm")) as harness:
    doctor = harness.chat({"client": "openai", "model": "gpt-4o-mini", "temperature": 0}, role="doctor")
    reply = await doctor.ask([system("You are a physician."), user("My chest hurts.")])
    reply.require().text

messages, requests, replies   what is sent, under which key it is kept, what comes back
clients/                      openai, langchain, transformers, scripted, replay, human
model                         a YAML block -> a client with its sampling and limits
harness, chat, call           what all calls share; a role's way to its model; one call from key to reply
endpoint, limiter, retry      what is known of a server, how many calls at once, what is tried again
budget, prices, totals        calls, tokens, money, seconds
store                         cache (SQLite) and logs (JSONL), in a thread of their own
structured, jsontext          objects out of replies
thinking, history             thoughts taken out; what is left out when the context is full
secrets                       keys, and how they stay out of every text
"""

from medeval.llm.budget import Limit, Scope
from medeval.llm.chat import Chat, Steps
from medeval.llm.clients.base import Capabilities, ChatClient, ClientIdentity
from medeval.llm.errors import (
    BadCall,
    BudgetSpent,
    CallFailure,
    ContextTooLong,
    DialogueBudgetSpent,
    DialogueTimeout,
    EmptyReply,
    EndpointDown,
    EndpointRefuses,
    Kind,
    ModelRaised,
    NotRecorded,
    RefusedReply,
    RunTimeout,
    TransportError,
    TruncatedReply,
    UnparsableReply,
)
from medeval.llm.harness import Harness, HarnessSettings
from medeval.llm.messages import Message, Picture, Tool, ToolCall, assistant, system, to_messages, user
from medeval.llm.model import CLIENTS, ChatModel, model_of, open_model, validate_block
from medeval.llm.prices import Price, Prices, estimate_dialogue
from medeval.llm.replies import Finish, Outcome, Reply, Usage
from medeval.llm.requests import ChatRequest, Sampling

__all__ = [
    "CLIENTS", "BadCall", "BudgetSpent", "CallFailure", "Capabilities", "Chat", "ChatClient", "ChatModel", "ChatRequest",
    "ClientIdentity", "ContextTooLong", "DialogueBudgetSpent", "DialogueTimeout", "EmptyReply", "EndpointDown",
    "EndpointRefuses", "Finish", "Harness", "HarnessSettings", "Kind", "Limit", "Message", "ModelRaised", "NotRecorded",
    "Outcome", "Picture", "Price", "Prices", "RefusedReply", "Reply", "RunTimeout", "Sampling", "Scope", "Steps", "Tool",
    "ToolCall", "TransportError", "TruncatedReply", "UnparsableReply", "Usage", "assistant", "estimate_dialogue",
    "model_of", "open_model", "system", "to_messages", "user", "validate_block",
]  # fmt: skip
