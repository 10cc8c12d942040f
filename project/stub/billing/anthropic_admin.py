"""Anthropic: usage report, cost report and API keys of an organization.

Shapes: https://platform.claude.com/docs/en/manage-claude/usage-cost-api and
https://platform.claude.com/docs/en/api/admin/api_keys/list
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from email.message import Message

from project.stub.billing.admin import (
    WIDTHS,
    AdminAPI,
    AdminError,
    Charged,
    Json,
    Query,
    bucket_starts,
    grouped,
    listed,
    page_of,
    total,
)
from project.stub.billing.keys import ApiKey, secret_in

_LIMITS = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
_VALUES: dict[str, Callable[[Charged], object]] = {
    "api_key_id": lambda each: each.served.api_key_id or None,
    "workspace_id": lambda each: each.served.project or None,
    "model": lambda each: each.model,
    "service_tier": lambda each: "batch" if each.charge.batch else "standard",
    "context_window": lambda _: "0-200k",
    "inference_geo": lambda _: "not_available",
}
_FILTERS: dict[str, Callable[[Charged], object]] = {
    "api_key_ids": _VALUES["api_key_id"],
    "workspace_ids": _VALUES["workspace_id"],
    "models": _VALUES["model"],
    "service_tiers": _VALUES["service_tier"],
    "context_window": _VALUES["context_window"],
}
#: Field of a price → type of tokens, and its name in descriptions.
_TYPES = {
    "fresh": ("uncached_input_tokens", "Input Tokens"),
    "cached": ("cache_read_input_tokens", "Input Tokens, Cache Read"),
    "cache_write": (
        "cache_creation.ephemeral_5m_input_tokens",
        "Input Tokens, Cache Write (5m)",
    ),
    "output": ("output_tokens", "Output Tokens"),
}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class AnthropicAdmin(AdminAPI):
    """The admin API of Anthropic."""

    routes = (
        (re.compile(r"/anthropic/v1/organizations/usage_report/messages"), "usage"),
        (re.compile(r"/anthropic/v1/organizations/cost_report"), "costs"),
        (re.compile(r"/anthropic/v1/organizations/api_keys"), "api_keys"),
    )

    def authorize(self, headers: Message) -> None:
        secret = secret_in(headers)  # the SDK sends admin keys as bearer tokens
        if not headers.get("anthropic-version"):
            raise AdminError(400, "anthropic-version: header is required")
        if not secret.startswith("sk-ant-"):
            raise AdminError(401, f"invalid x-api-key{': ' if secret else ''}{secret}")
        if not secret.startswith("sk-ant-admin"):
            raise AdminError(403, "This API key does not have permission to use the Admin API.")

    def error(self, status: int, message: str) -> Json:
        kind = _ERRORS.get(status, "api_error")
        error = {"type": kind, "message": message}
        return {"type": "error", "error": error, "request_id": "req_stub"}

    def usage(self, query: Query) -> Json:
        """Answer a request for the usage of messages. It has no number of requests."""
        groups = query.groups(tuple(_VALUES))
        width = query.one("bucket_width", "1d")
        if width not in WIDTHS:
            raise AdminError(400, f"bucket_width: Input should be '1d', '1m' or '1h', not {width}")
        charges = [each for each in self.bill.charged("anthropic") if query.keeps(_FILTERS, each)]

        def results(charged: Sequence[Charged]) -> list[Json]:
            found = grouped(charged, groups, _VALUES)
            return [
                _usage_result(each) | dict(zip(groups, names, strict=True))
                for names, each in found.items()
            ]

        return self._buckets(query, charges, width, results)

    def costs(self, query: Query) -> Json:
        """Answer a request for costs."""
        groups = query.groups(("workspace_id", "description"))
        if query.one("bucket_width", "1d") != "1d":
            raise AdminError(400, "bucket_width: Input should be '1d'")

        def results(charged: Sequence[Charged]) -> list[Json]:
            return self._cost_results(charged, groups)

        return self._buckets(query, self.bill.charged("anthropic"), "1d", results)

    def api_keys(self, query: Query) -> Json:
        """Answer a request for the list of API keys."""
        wanted = query.one("workspace_id")
        keys = [k for k in self.bill.keys("anthropic") if not wanted or k.project == wanted]
        return listed([_api_key(key) for key in keys], query, "after_id", 1000)

    def _buckets(
        self,
        query: Query,
        charges: Sequence[Charged],
        width: str,
        results: Callable[[Sequence[Charged]], list[Json]],
    ) -> Json:
        start = _moment("starting_at", query.one("starting_at"))
        if start is None:
            raise AdminError(400, "starting_at: Field required")
        end = _moment("ending_at", query.one("ending_at")) or self.bill.now()
        step = WIDTHS[width]
        starts = bucket_starts(start, end, step, self.bill.zone)
        size = min(query.limit(*_LIMITS[width]), self.bill.page_size or 1440)
        shown, following = page_of(starts, query, size)
        if self.bill.repeats_page:
            following = query.one("page", "page_0")
        data = [
            {
                "starting_at": self._text(begin),
                "ending_at": self._text(begin + step),
                "results": results([e for e in charges if begin <= e.moment < begin + step]),
            }
            for begin in shown
        ]
        return {"data": data, "has_more": following is not None, "next_page": following}

    def _cost_results(self, charged: Sequence[Charged], groups: Sequence[str]) -> list[Json]:
        described = "description" in groups
        sums: dict[tuple[object, ...], Decimal] = defaultdict(Decimal)
        for each in charged:
            tier = _VALUES["service_tier"](each)
            workspace = _VALUES["workspace_id"](each) if "workspace_id" in groups else None
            for amount in self.bill.amounts(each):
                detail = (each.model, tier, *_TYPES[amount.kind]) if described else (None,) * 4
                sums[(workspace, *detail)] += amount.cost * 100
        return [
            {
                "currency": "USD",
                "amount": self.bill.shown(cents, lambda amount: format(amount, "f")),
                "workspace_id": workspace,
                "description": f"{model} Usage - {name}" if described else None,
                "cost_type": "tokens" if described else None,
                "context_window": "0-200k" if described else None,
                "model": model,
                "service_tier": tier,
                "token_type": kind,
                "inference_geo": "not_available" if described else None,
            }
            for (workspace, model, tier, kind, name), cents in sums.items()
        ]

    def _text(self, moment: datetime) -> str:
        return moment.astimezone(self.bill.zone).isoformat().replace("+00:00", "Z")


def _usage_result(charged: Sequence[Charged]) -> Json:
    prompt, cached = total(charged, "prompt"), total(charged, "cached")
    written = total(charged, "cache_write")
    return {
        "uncached_input_tokens": prompt - cached - written,
        "cache_creation": {
            "ephemeral_1h_input_tokens": 0,
            "ephemeral_5m_input_tokens": written,
        },
        "cache_read_input_tokens": cached,
        "output_tokens": total(charged, "completion"),
        "server_tool_use": {"web_search_requests": 0},
        **dict.fromkeys(_VALUES),
    }


def _api_key(key: ApiKey) -> Json:
    workspace = key.project or None
    return {
        "id": key.id,
        "type": "api_key",
        "name": key.name,
        "workspace_id": workspace,
        "scope": {"type": "workspace", "workspace_id": workspace or "wrkspc_default"},
        "created_at": "2025-01-01T00:00:00Z",
        "created_by": {"id": "user_stub", "type": "user"},
        "expires_at": None,
        "partial_key_hint": f"sk-ant-api03-...{key.hint}",
        "status": "active",
    }


def _moment(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise AdminError(400, f"{name}: Input should be a valid datetime") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
