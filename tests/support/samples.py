"""Three months of data of a busy site: random-looking numbers that are always the same."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal

from django.contrib.auth.models import User

from tests.support.builders import make_log
from usage_tracking.models import AIUsageLog

#: Section, its share of the calls, and its usual provider and model with USD per million tokens.
_SECTIONS = (
    ("chat", 34, "openai", "gpt-4o", 5),
    ("rag_pipeline", 22, "anthropic", "claude-sonnet-4-5", 6),
    ("knowledge_qa", 14, "openai", "gpt-4o-mini", 0.3),
    ("intent_detection", 12, "openai", "gpt-4o-mini", 0.3),
    ("embedding_generation", 8, "openai", "text-embedding-3-small", 0.02),
    ("product_recommendation", 5, "google", "gemini-2.5-flash", 0.6),
    ("marketing_workflow", 3, "mistral", "mistral-large-latest", 3),
    ("other", 2, "ollama", "llama3.1:8b", None),
)
_NAMES = ("ada", "grace", "alan", "edsger", "barbara", "donald", "margaret", "linus", "radia")
_ERRORS = (
    "Error code: 429 - Rate limit reached for gpt-4o",
    "Request timed out.",
    "Error code: 529 - Overloaded",
)


def save_season(last: dt.datetime, *, days: int = 90, calls: int = 40) -> list[User]:
    """Save about `calls` rows a day for the `days` days up to `last`, and return their users."""
    chance = random.Random(7)
    users = [User.objects.create_user(name) for name in _NAMES]
    logs = []
    for age in range(days):
        day = last - dt.timedelta(days=age)
        weekend = 0.4 if day.weekday() > 4 else 1
        growth = 0.5 + (days - age) / days
        for _ in range(int(calls * weekend * growth * chance.uniform(0.8, 1.2))):
            logs.append(_log(chance, day - dt.timedelta(minutes=chance.randrange(600)), users))
    AIUsageLog.objects.bulk_create(logs)
    return users


def _log(chance: random.Random, when: dt.datetime, users: list[User]) -> AIUsageLog:
    section, _, provider, model, price = chance.choices(
        _SECTIONS, [share for _, share, *_ in _SECTIONS]
    )[0]
    failed = chance.random() < 0.03
    silent = failed or chance.random() < 0.02
    prompt, completion = chance.randrange(80, 4_000), chance.randrange(20, 900)
    cost = None
    if price is not None and not silent:
        cost = Decimal(str(price)) * (prompt + 4 * completion) / 1_000_000
    return make_log(
        user=None if chance.random() < 0.06 else chance.choices(users, range(len(users), 0, -1))[0],
        section=section,
        provider=provider,
        model_name=model,
        prompt_tokens=None if silent else prompt,
        completion_tokens=None if silent else completion,
        cost=cost,
        response_time_ms=int(chance.lognormvariate(6.8, 0.7)),
        success=not failed,
        error_message=chance.choice(_ERRORS) if failed else None,
        created_at=when,
    )
