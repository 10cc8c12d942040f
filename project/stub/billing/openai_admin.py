"""OpenAI: usage, costs, projects and API keys of an organization.

Shapes: https://platform.openai.com/docs/api-reference/usage and `openai/types/admin/organization`
of the SDK
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
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

#: Operations of the journal → families; others are completions.
FAMILIES = {
    "embeddings": "embeddings",
    "image_generation": "images",
    "speech": "audio_speeches",
    "transcription": "audio_transcriptions",
    "decision": "decisions",
    "moderation": "moderations",
    "web_search": "web_search_calls",
    "file_search": "file_search_calls",
    "code_interpreter": "code_interpreter_sessions",
    "video_generation": "",
}
#: The names of results that differ from the family.
_OBJECTS = {"web_search_calls": "web_searches", "file_search_calls": "file_searches"}
_LIMITS = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
_VALUES: dict[str, Callable[[Charged], object]] = {
    "project_id": lambda each: each.served.project or None,
    "api_key_id": lambda each: each.served.api_key_id or None,
    "user_id": lambda _: "user-stub",
    "model": lambda each: each.model,
    "batch": lambda each: each.charge.batch,
    "service_tier": lambda _: "default",
    "size": lambda _: "1024x1024",
    "source": lambda _: "image.generation",
    "vector_store_id": lambda _: "vs_stub",
    "context_level": lambda _: "medium",
    "api_source": lambda _: "unlabeled",
}
_WIDE = ("project_id", "user_id", "api_key_id", "model")
#: Family → what it can be grouped by.
GROUPS: dict[str, tuple[str, ...]] = {
    "completions": (*_WIDE, "batch", "service_tier", "api_source"),
    "decisions": (*_WIDE, "batch", "service_tier", "api_source"),
    "embeddings": _WIDE,
    "moderations": _WIDE,
    "images": (*_WIDE, "size", "source"),
    "audio_speeches": _WIDE,
    "audio_transcriptions": _WIDE,
    "web_search_calls": (*_WIDE, "context_level", "api_source"),
    "file_search_calls": ("project_id", "user_id", "api_key_id", "vector_store_id"),
    "code_interpreter_sessions": ("project_id",),
}
_FILTERS: dict[str, Callable[[Charged], object]] = {
    "project_ids": _VALUES["project_id"],
    "api_key_ids": _VALUES["api_key_id"],
    "user_ids": _VALUES["user_id"],
    "models": _VALUES["model"],
    "batch": lambda each: str(each.charge.batch).lower(),
}
_LINE_ITEMS = {
    "fresh": "input_tokens",
    "cached": "cached_input_tokens",
    "cache_write": "cache_write_tokens",
    "output": "output_tokens",
}


class OpenAIAdmin(AdminAPI):
    """The admin API of OpenAI."""

    routes = (
        (re.compile(rf"/openai/v1/organization/usage/(?P<family>{'|'.join(GROUPS)})"), "usage"),
        (re.compile(r"/openai/v1/organization/costs"), "costs"),
        (re.compile(r"/openai/v1/organization/projects"), "projects"),
        (re.compile(r"/openai/v1/organization/projects/(?P<project>[^/]+)/api_keys"), "api_keys"),
    )

    def authorize(self, headers: Message) -> None:
        secret = secret_in(headers)
        if not secret:
            raise AdminError(401, "Missing bearer authentication in header")
        if not secret.startswith("sk-"):
            raise AdminError(401, f"Incorrect API key provided: {secret}.")
        if not secret.startswith("sk-admin-"):
            raise AdminError(
                403,
                "You have insufficient permissions for this operation. "
                "Missing scopes: api.usage.read.",
            )

    def error(self, status: int, message: str) -> Json:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        code = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status)
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def usage(self, query: Query, family: str) -> Json:
        """Answer a request for the usage of a family of endpoints."""
        groups = query.groups(GROUPS[family])
        charges = [
            each
            for each in self.bill.charged("openai")
            if FAMILIES.get(each.served.operation, "completions") == family
            and query.keeps(_FILTERS, each)
        ]
        width = query.one("bucket_width", "1d")
        if width not in WIDTHS:
            raise AdminError(400, f"'bucket_width' must be 1m, 1h or 1d, not {width!r}.")

        def results(charged: Sequence[Charged]) -> list[Json]:
            found = grouped(charged, groups, _VALUES)
            return [
                _usage_result(family, each, dict(zip(groups, names, strict=True)))
                for names, each in found.items()
            ]

        return self._buckets(query, charges, width, _LIMITS[width], results)

    def costs(self, query: Query) -> Json:
        """Answer a request for costs."""
        groups = query.groups(("project_id", "user_id", "line_item", "api_key_id", "api_source"))
        width = query.one("bucket_width", "1d")
        if width != "1d":
            raise AdminError(400, f"'bucket_width' must be 1d, not {width!r}.")
        kept = {name: _FILTERS[name] for name in ("project_ids", "api_key_ids", "user_ids")}
        charges = [each for each in self.bill.charged("openai") if query.keeps(kept, each)]

        def results(charged: Sequence[Charged]) -> list[Json]:
            return self._cost_results(charged, groups)

        return self._buckets(query, charges, width, (7, 180), results)

    def projects(self, query: Query) -> Json:
        """Answer a request for the list of projects."""
        names = dict.fromkeys(key.project for key in self.bill.keys("openai"))
        return {"object": "list", **listed([_project(each) for each in names], query, "after", 100)}

    def api_keys(self, query: Query, project: str) -> Json:
        """Answer a request for the keys of a project."""
        keys = [key for key in self.bill.keys("openai") if key.project == project]
        if not keys:
            raise AdminError(404, f"No project found with id '{project}'.")
        return {"object": "list", **listed([_api_key(key) for key in keys], query, "after", 100)}

    def _buckets(
        self,
        query: Query,
        charges: Sequence[Charged],
        width: str,
        limits: tuple[int, int],
        results: Callable[[Sequence[Charged]], list[Json]],
    ) -> Json:
        start, end = _moment(query.one("start_time")), self.bill.now()
        if start is None:
            raise AdminError(400, "Missing required parameter: 'start_time'.")
        end = _moment(query.one("end_time")) or end
        step = WIDTHS[width]
        starts = bucket_starts(start, end, step, self.bill.zone)
        size = min(query.limit(*limits), self.bill.page_size or limits[1])
        shown, following = page_of(starts, query, size)
        if self.bill.repeats_page:
            following = query.one("page", "page_0")
        data = [
            {
                "object": "bucket",
                "start_time": int(begin.timestamp()),
                "end_time": int((begin + step).timestamp()),
                "results": results([e for e in charges if begin <= e.moment < begin + step]),
            }
            for begin in shown
        ]
        has_more = following is not None
        return {"object": "page", "data": data, "has_more": has_more, "next_page": following}

    def _cost_results(self, charged: Sequence[Charged], groups: Sequence[str]) -> list[Json]:
        sums: dict[tuple[object, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 2)
        for each in charged:
            for amount in self.bill.amounts(each):
                batch = "batch_" if each.charge.batch else ""
                item = f"{each.model}, {batch}{_LINE_ITEMS[amount.kind]}"
                names = tuple(item if g == "line_item" else _VALUES[g](each) for g in groups)
                cost, tokens = sums[names]
                sums[names] = [cost + amount.cost, tokens + amount.tokens]
        empty = dict.fromkeys(("project_id", "user_id", "line_item", "api_key_id", "api_source"))
        by_item = "line_item" in groups
        return [
            {
                "object": "organization.costs.result",
                "amount": {"value": self.bill.shown(cost, float), "currency": "usd"},
                "quantity": int(tokens) if by_item else None,
                "quantity_unit": "tokens" if by_item else None,
                **empty,
                **dict(zip(groups, names, strict=True)),
            }
            for names, (cost, tokens) in sums.items()
        ]


def _usage_result(family: str, charged: Sequence[Charged], names: Mapping[str, object]) -> Json:
    requests = sum(each.charge.requests for each in charged)
    units = {
        name: sum(each.charge.units.get(name, 0) for each in charged)
        for name in ("images", "seconds", "characters")
    }
    counts: Json = {"num_model_requests": requests}
    match family:
        case "completions" | "decisions":
            counts |= _tokens(charged)
        case "embeddings" | "moderations":
            counts |= {"input_tokens": total(charged, "prompt")}
        case "images":
            counts |= {"images": units["images"]}
        case "audio_speeches":
            counts |= {"characters": units["characters"]}
        case "audio_transcriptions":
            counts |= {"seconds": units["seconds"]}
        case "web_search_calls":
            counts |= {"num_requests": requests}
        case "file_search_calls":
            counts = {"num_requests": requests}
        case _:
            counts = {"num_sessions": requests}
    kind = f"organization.usage.{_OBJECTS.get(family, family)}.result"
    return {"object": kind, **counts, **dict.fromkeys(GROUPS[family]), **names}


def _tokens(charged: Sequence[Charged]) -> Json:
    prompt, cached = total(charged, "prompt"), total(charged, "cached")
    written, completion = total(charged, "cache_write"), total(charged, "completion")
    return {
        "input_tokens": prompt,
        "output_tokens": completion,
        "input_cached_tokens": cached,
        "input_cache_write_tokens": written,
        "input_uncached_tokens": prompt - cached - written,
        "input_text_tokens": prompt - cached - written,
        "output_text_tokens": completion,
        "input_cached_text_tokens": cached,
        "input_audio_tokens": 0,
        "input_cached_audio_tokens": 0,
        "output_audio_tokens": 0,
        "input_image_tokens": 0,
        "input_cached_image_tokens": 0,
        "output_image_tokens": 0,
    }


def _project(project: str) -> Json:
    return {
        "id": project,
        "object": "organization.project",
        "name": project.removeprefix("proj_").replace("_", " ").capitalize(),
        "created_at": 1_700_000_000,
        "archived_at": None,
        "status": "active",
    }


def _api_key(key: ApiKey) -> Json:
    owner = {"id": "user-stub", "name": "Stub", "email": "stub@example.com", "role": "owner"}
    return {
        "id": key.id,
        "object": "organization.project.api_key",
        "name": key.name,
        "redacted_value": f"sk-...{key.hint}",
        "created_at": 1_700_000_000,
        "last_used_at": None,
        "expires_at": None,
        "owner_project_access": "active",
        "owner": {"type": "user", "user": {**owner, "created_at": 1_700_000_000}},
    }


def _moment(seconds: str) -> datetime | None:
    if not seconds:
        return None
    if not seconds.isdigit():
        raise AdminError(400, f"A time must be in Unix seconds, not {seconds!r}.")
    return datetime.fromtimestamp(int(seconds), UTC)
