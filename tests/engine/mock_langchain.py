"""A LangChain chat model of a stranger's own, which asks the mock server."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

ROLES = {"human": "user", "ai": "assistant", "system": "system"}


class ServerChat(BaseChatModel):
    """Posts the conversation and gives the reply's text."""

    url: str
    name: str

    @property
    def _llm_type(self) -> str:
        return "server-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"name": self.name, "url": self.url}

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any
    ) -> ChatResult:
        told = [{"role": ROLES[m.type], "content": m.content} for m in messages]
        body = json.dumps({"model": self.name, "messages": told}).encode()
        request = urllib.request.Request(
            f"{self.url}/chat/completions", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            text = json.load(response)["choices"][0]["message"]["content"]
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])
