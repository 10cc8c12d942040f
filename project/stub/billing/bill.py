"""The bill of the stub: what it charged, and what tests do to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from email.message import Message
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from project.stub.billing.admin import AdminAPI, AdminError, Charged, Json, Query
from project.stub.billing.anthropic_admin import AnthropicAdmin
from project.stub.billing.keys import ApiKey, KeyRing
from project.stub.billing.openai_admin import OpenAIAdmin
from project.stub.billing.openrouter_admin import OpenRouterAdmin
from project.stub.billing.prices import PRICES, UNLISTED, Amount, Price, amounts_of
from project.stub.exchange import Charge, Counts, Served

if TYPE_CHECKING:
    from project.stub.journal import Journal


class Answer(NamedTuple):
    """The response to an admin request."""

    status: int
    body: bytes
    headers: dict[str, str]


class Bill:
    """The admin APIs, and controls for tests. Admin requests are not in the journal.

    A request is on the bill if its answer has a status below 300, even if the client left before
    it came: the provider bills what it generated.
    """

    def __init__(self, journal: Journal, keys: KeyRing) -> None:
        self._journal, self._keys = journal, keys
        self._lock = threading.Lock()
        self._apis: tuple[AdminAPI, ...] = (
            OpenAIAdmin(self),
            AnthropicAdmin(self),
            OpenRouterAdmin(self),
        )
        self._extra: list[Served] = []
        self._failures: dict[int, Answer] = {}
        #: Path and query of each admin request.
        self.requests: list[str] = []
        #: The most buckets on a page, whatever the limit of the request.
        self.page_size: int | None = None
        #: Requests of the last minutes or since a moment are not shown yet: late data.
        self.lag = timedelta(0)
        self.hidden_from: datetime | None = None
        #: Whether each page names itself as the next.
        self.repeats_page = False
        #: Fields that are added to every object.
        self.extra_fields: Json = {}
        #: The zone in which days begin.
        self.zone: tzinfo = UTC
        #: Turns each amount of money (USD, or cents for Anthropic) into what JSON shows.
        self.amount: Callable[[Decimal], object] | None = None
        self.prices: dict[str, Price] = dict(PRICES)
        #: Model, as the bill names it → factor of its prices: a planted price error.
        self.price_factors: dict[str, Decimal] = {}

    def register(self, provider: str, secret: str, *, name: str = "", project: str = "") -> ApiKey:
        """Name an API key and its project, before it makes requests."""
        return self._keys.register(provider, secret, name=name, project=project)

    def keys(self, provider: str) -> list[ApiKey]:
        """Return the keys that were registered or made a request."""
        return self._keys.of(provider)

    def add(
        self,
        provider: str,
        operation: str,
        model: str,
        *,
        at: datetime,
        charge: Charge | None = None,
        key: ApiKey | None = None,
    ) -> None:
        """Bill a request that was never made, such as one of an operation without an endpoint."""
        charge = charge or Charge(Counts(prompt=10, completion=5))
        served = Served(
            number=0,
            provider=provider,
            operation=operation,
            requested_model=model,
            prompt_tokens=charge.counts.prompt,
            completion_tokens=charge.counts.completion,
            cached_tokens=charge.counts.cached,
            cache_write_tokens=charge.counts.cache_write,
            reasoning_tokens=charge.counts.reasoning,
            streamed=False,
            status=200,
            body=b"",
            completed=True,
            served_at=at,
            api_key_id=key.id if key else "",
            api_key_hint=key.hint if key else "",
            project=key.project if key else "",
            charge=charge,
            path="",
            prompt="",
            response_id="",
            model=model,
        )
        with self._lock:
            self._extra.append(served)

    def fail(
        self, status: int, *, on: int = 1, times: int = 1, retry_after: int | None = None
    ) -> None:
        """Refuse admin requests: the `on`-th from now, and `times` in all."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        with self._lock:
            first = len(self.requests) + on
            for number in range(first, first + times):
                self._failures[number] = Answer(status, b"", headers)

    def release(self) -> None:
        """Show late data."""
        self.lag, self.hidden_from = timedelta(0), None

    def now(self) -> datetime:
        """Return the time of the stub's clock, in UTC."""
        return self._journal.now()

    def charged(self, provider: str) -> list[Charged]:
        """Return the requests that a provider shows on its bill, oldest first."""
        end = min(self.now() - self.lag, self.hidden_from or datetime.max.replace(tzinfo=UTC))
        with self._lock:
            extra = list(self._extra)
        return [
            Charged(each, each.charge, each.served_at, each.model or each.requested_model)
            for each in (*self._journal.served(), *extra)
            if each.provider == provider
            and each.charge is not None
            and each.served_at is not None
            and each.status < 300
            and (each.served_at < end or (not self.lag and self.hidden_from is None))
        ]

    def amounts(self, each: Charged) -> list[Amount]:
        """Return what the parts of a request cost in USD."""
        price = self.prices.get(each.model, UNLISTED)
        return list(amounts_of(price, each.charge, self.factor(each)))

    def factor(self, each: Charged) -> Decimal:
        """Return the planted price error of a request."""
        return self.price_factors.get(each.model, Decimal(1))

    def shown(self, amount: Decimal, plain: Callable[[Decimal], object]) -> object:
        """Return an amount of money as JSON shows it."""
        return (self.amount or plain)(amount)

    def answer(self, path: str, query: str, headers: Message) -> Answer | None:
        """Return the response to a request; None if it is none for an admin API."""
        for api in self._apis:
            if page := api.find(path):
                return self._respond(api, page, f"{path}?{query}" if query else path, headers)
        return None

    def _respond(
        self,
        api: AdminAPI,
        page: Callable[[Query], Json],
        request: str,
        headers: Message,
    ) -> Answer:
        with self._lock:
            self.requests.append(request)
            failure = self._failures.pop(len(self.requests), None)
        try:
            if failure is not None:
                raise AdminError(failure.status, "A test requested this error.")
            api.authorize(headers)
            found = page(Query(parse_qs(request.partition("?")[2])))
        except AdminError as problem:
            body = json.dumps(api.error(problem.status, problem.message)).encode()
            return Answer(problem.status, body, failure.headers if failure else {})
        return Answer(200, json.dumps(self._with_extra(found)).encode(), {})

    def _with_extra(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {**{name: self._with_extra(each) for name, each in value.items()}} | (
                self.extra_fields
            )
        return [self._with_extra(each) for each in value] if isinstance(value, list) else value
