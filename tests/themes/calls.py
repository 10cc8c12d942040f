"""The calls of a large site: many users, providers and models, long names and long errors."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone

from tests.support.builders import make_log
from usage_tracking import daily, models
from usage_tracking.models import AIUsageLog

#: The calls that have pages of their own below, by the part of their ids that differs.
SUCCESS, FAILURE, UNPRICED = (UUID(int=number) for number in (1, 2, 3))
DAYS = 60
LONG_NAME = "maximiliane.wolkenstein-featherstonehaugh@research.subsidiary.example.com"
_SECTIONS = (
    ("chat", 34),
    ("rag_pipeline", 22),
    ("knowledge_qa", 14),
    ("intent_detection", 12),
    ("embedding_generation", 8),
    ("product_recommendation", 5),
    ("marketing_workflow", 3),
    ("other", 2),
)
_LONG = "example-research-and-development"
#: Provider, model, its share of the calls, and USD per million tokens; None if it has no price.
_MODELS = (
    ("openai", "gpt-4o-mini", 24, 0.3),
    ("openai", "gpt-4o", 16, 5),
    ("anthropic", "claude-sonnet-4-5-20250929", 14, 6),
    ("google", "gemini-2.5-flash", 10, 0.6),
    ("openai", "text-embedding-3-small", 8, 0.02),
    ("aws", "anthropic.claude-3-5-sonnet-20241022-v2:0", 5, 6),
    ("azure", "contoso-west-europe-gpt-4o-production-deployment", 5, 5),
    ("mistral", "mistral-large-latest", 4, 3),
    ("openrouter", "meta-llama/llama-3.3-70b-instruct", 4, 0.4),
    ("groq", "llama-3.1-8b-instant", 3, 0.06),
    ("deepseek", "deepseek-reasoner", 2, 1),
    ("ollama", "llama3.1:8b", 2, None),
    ("openai", f"ft:gpt-4o-mini-2024-07-18:{_LONG}:support-agent-v12:AbCdEf12", 1, 0.6),
    ("huggingface", f"accounts/example/models/mixtral-8x22b-instruct-{_LONG}-2025-q4", 1, None),
    ("unknown", "", 1, None),
)
_ERRORS = (
    "Error code: 429 - Rate limit reached for gpt-4o",
    "Request timed out.",
    "Error code: 529 - Overloaded",
    "Error code: 400 - {'error': {'message': \"This model's maximum context length is 128000 "
    "tokens. However, your messages resulted in 131842 tokens (131330 in the messages, 512 in the "
    "functions). Please reduce the length of the messages or functions.\", 'type': "
    "'invalid_request_error', 'param': 'messages', 'code': 'context_length_exceeded'}}",
    "httpx.ConnectError: https://contoso-west-europe.openai.example.com/openai/deployments/"
    "contoso-west-europe-gpt-4o-production-deployment/chat/completions?api-version=2024-10-21 "
    + "at_a_very_long_word_without_a_space_"
    * 6,
)


def fill(calls: int, users: int = 300) -> User:
    """Save `calls` calls of the past 60 days, and return a superuser who made some of them."""
    now = timezone.now().replace(microsecond=0)
    names = ["root", LONG_NAME, *(f"user{n:03}" for n in range(2, users))]
    User.objects.bulk_create(
        User(username=name, is_staff=name == "root", is_superuser=name == "root") for name in names
    )
    everyone = list(User.objects.order_by("pk"))
    rows = _calls(calls, everyone, now)
    while batch := list(islice(rows, 5_000)):
        AIUsageLog.objects.bulk_create(batch, batch_size=500)
    daily.rebuild()
    if hasattr(models, "AIProviderBill"):  # an older revision may be served
        _bill(now)
    return everyone[0]


def _bill(now: dt.datetime) -> None:
    """Save the bills of the past three days, with a model of which the log has nothing."""
    for days in range(3):
        day = now.date() - dt.timedelta(days=days)
        for provider, family, model, requests in (
            ("openai", "completions", "gpt-4o-mini", 2),
            (
                "openai",
                "completions",
                f"ft:gpt-4o-mini-2024-07-18:{_LONG}:escaped:{'Z' * 20}",
                1_200,
            ),
            ("anthropic", "messages", "claude-sonnet-4-5-20250929", None),
        ):
            models.AIProviderBill.objects.create(
                provider=provider,
                day=day,
                family=family,
                model_name=model,
                key_name="production",
                key_hint="Zx9q",
                requests=requests,
                prompt_tokens=40_000_000_000,
                completion_tokens=1_900,
                cost=Decimal("12345.67"),
                fetched_at=now,
            )


def _calls(number: int, users: list[User], now: dt.datetime) -> Iterator[AIUsageLog]:
    chance = random.Random(16)
    weights = [1 / (rank + 8) for rank in range(len(users))]
    step = dt.timedelta(days=DAYS) / number
    yield _success(users[1], now)
    yield _failure(users[1], now)
    yield _unpriced(users[1], now)
    # 256 names instead of one choice for each call, which would take half of the time.
    drawn = chance.choices(users, weights, k=256 * 31)
    sections = chance.choices([s for s, _ in _SECTIONS], [share for _, share in _SECTIONS], k=1009)
    models = chance.choices(_MODELS, [share for _, _, share, _ in _MODELS], k=1013)
    for n in range(3, number):
        provider, model, _, price = models[n % len(models)]
        failed = chance.random() < 0.03
        silent = failed or chance.random() < 0.02
        prompt, completion = chance.randrange(80, 40_000), chance.randrange(20, 1_900)
        cached = prompt // 2 if chance.random() < 0.3 else None
        yield make_log(
            user=None if chance.random() < 0.04 else drawn[n % len(drawn)],
            section=sections[n % len(sections)],
            provider=provider,
            model_name=model,
            prompt_tokens=None if silent else prompt,
            completion_tokens=None if silent else completion,
            cached_tokens=None if silent else cached,
            usage_details={"web_searches": 1 + n % 3} if n % 41 == 0 and not silent else None,
            cost=None if price is None or silent else _cost(price, prompt, completion),
            response_time_ms=int(chance.lognormvariate(6.8, 0.7)),
            success=not failed,
            error_message=chance.choice(_ERRORS) if failed else None,
            created_at=now - n * step,
        )


def _success(user: User, now: dt.datetime) -> AIUsageLog:
    return make_log(
        id=SUCCESS,
        user=user,
        model_name="gpt-4o",
        prompt_tokens=18_420,
        completion_tokens=911,
        cached_tokens=12_288,
        reasoning_tokens=384,
        cost=Decimal("0.039995"),
        usage_source=AIUsageLog.UsageSource.REPORTED,
        metadata={"response_id": "chatcmpl-C0ffee", "cost_source": "site", "finish": "stop"},
        created_at=now,
    )


def _failure(user: User, now: dt.datetime) -> AIUsageLog:
    return make_log(
        id=FAILURE,
        user=user,
        provider="azure",
        model_name="contoso-west-europe-gpt-4o-production-deployment",
        prompt_tokens=None,
        completion_tokens=None,
        success=False,
        error_message=_ERRORS[-1] + "\n" + _ERRORS[-2],
        metadata=_metadata(),
        created_at=now,
    )


def _unpriced(user: User, now: dt.datetime) -> AIUsageLog:
    return make_log(
        id=UNPRICED,
        user=user,
        provider="huggingface",
        model_name=_MODELS[-2][1],
        usage_details={"web_searches": 2},
        created_at=now,
    )


def _metadata() -> dict[str, Any]:
    return {
        "status_code": 400,
        "request_id": "req_" + "0123456789abcdef" * 4,
        "endpoint": "https://contoso-west-europe.openai.example.com/openai/deployments/chat",
    }


def _cost(price: float, prompt: int, completion: int) -> Decimal:
    return Decimal(round(price * (prompt + 4 * completion) * 10)) / 10_000_000
