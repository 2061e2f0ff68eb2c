"""What is known of one endpoint: its limiter, what it refused, and whether it is still worth asking."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from medeval.llm.errors import EndpointRefuses, Kind, TransportError
from medeval.llm.history import merged
from medeval.llm.limiter import Limiter, Rates
from medeval.llm.loops import PerLoop
from medeval.llm.model import ChatModel
from medeval.llm.replies import Reply
from medeval.llm.requests import ChatRequest, Form
from medeval.llm.retry import Limits
from medeval.types import UserError

_ADVICE = {
    Kind.AUTH: "the key is missing, wrong, or not allowed to use this model",
    Kind.QUOTA: "the account's quota is used up",
    Kind.NOT_FOUND: "there is no such model or path on this server",
}


@dataclass(eq=False)
class Endpoint:
    """Shared by all chats that ask one model at one place under the same limits.

    dropped: sampling parameters that the server refused, in order. merge: roles must alternate, or there is no system role.
    """

    limits: Limits
    dropped: tuple[str, ...] = ()
    merge: bool = False
    lost: str = ""
    _failures: int = 0
    _prepared: bool = False
    _forms: set[Form] = field(default_factory=set)

    def __post_init__(self) -> None:
        rates = Rates(self.limits)
        self._limiter: PerLoop[Limiter] = PerLoop(lambda: Limiter(rates))
        self._running: PerLoop[dict[str, asyncio.Future[Reply]]] = PerLoop(dict)
        self._last: Limiter | None = None

    async def limiter(self) -> Limiter:
        """The running loop's limiter; rates and concurrency are learnt across loops."""
        self._last = await self._limiter.get()
        return self._last

    async def running(self) -> dict[str, asyncio.Future[Reply]]:
        """Calls in flight on the running loop, by key: an equal call waits for the first one's reply."""
        return await self._running.get()

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return self._last.waiting if self._last is not None else 0

    async def prepare(self, model: ChatModel) -> None:
        """Import the client's library and look for its key, once, off the event loop.

        Raises ``EndpointRefuses`` where one is missing.
        """
        if self._prepared:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(None, model.check)
        except UserError as error:
            raise self.cannot(error) from None
        self._prepared = True

    def cannot(self, error: UserError) -> EndpointRefuses:
        """Never ask again: the client itself cannot work."""
        self.lost = str(error)
        return EndpointRefuses(self.lost)

    def adapted(self, request: ChatRequest, system: str) -> ChatRequest:
        """The request as this server takes it: refused parameters left out, roles merged. Its key stays what was asked."""
        if self.dropped:
            sampling = replace(request.sampling, **dict.fromkeys(self.dropped))
            request = replace(request, sampling=sampling)
        if self.merge or system == "merge":
            request = replace(request, messages=merged(request.messages, system=True))
        return request

    def learn(self, feature: str, request: ChatRequest) -> bool:
        """Note what the server has just refused. True when the request can be sent again in another shape."""
        if feature in ("system", "alternate") and not self.merge:
            self.merge = True
            return True
        if feature in request.sampling.given() and feature not in self.dropped:
            self.dropped = (*self.dropped, feature)
            return True
        return False

    def lacks(self, form: Form) -> None:
        """This way to a structured reply does not work here."""
        self._forms.add(form)

    def usable(self, forms: tuple[Form, ...]) -> tuple[Form, ...]:
        """The ways that may still work."""
        return tuple(form for form in forms if form not in self._forms)

    def refuse_if_lost(self) -> None:
        """Raises ``EndpointRefuses`` where earlier calls showed that asking is in vain; nothing is sent."""
        if self.lost:
            raise EndpointRefuses(self.lost)

    def give_up(self, name: str, error: TransportError) -> EndpointRefuses:
        """Never ask again: what the server said would be said to every call."""
        self.lost = f"{name}: {_ADVICE.get(error.kind, 'it cannot be asked')} ({error})"
        return EndpointRefuses(self.lost)

    def failed(self, name: str, error: TransportError) -> None:
        """A call was given up; many in a row mean that the server is gone."""
        self._failures += 1
        if self._failures >= self.limits.give_up_after:
            self.lost = f"{name}: {self._failures} calls in a row were given up, the last with: {error}; start again when it is back"

    def succeeded(self) -> None:
        """A call succeeded."""
        self._failures = 0

    async def close(self) -> None:
        """Forget what belongs to the running loop."""
        await self._limiter.close()
        await self._running.close()
