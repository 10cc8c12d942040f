"""OpenRouter: activity and API keys.

Shapes: https://openrouter.ai/docs/api/api-reference/analytics/get-user-activity and
https://openrouter.ai/docs/api/api-reference/api-keys/list
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.message import Message

from project.stub.billing.admin import (
    AdminAPI,
    AdminError,
    Charged,
    Json,
    Query,
    grouped,
    total,
)
from project.stub.billing.keys import ApiKey, secret_in

_DAYS = 30


class OpenRouterAdmin(AdminAPI):
    """The management API of OpenRouter."""

    routes = (
        (re.compile(r"/openrouter/api/v1/activity"), "activity"),
        (re.compile(r"/openrouter/api/v1/keys"), "keys"),
        (re.compile(r"/openrouter/api/v1/keys/(?P<key_id>[^/]+)"), "key"),
    )

    def authorize(self, headers: Message) -> None:
        secret = secret_in(headers)
        if not secret.startswith("sk-or-"):
            raise AdminError(401, "No auth credentials found" if not secret else "User not found.")
        if "management" not in secret:
            raise AdminError(403, "Only management keys can perform this operation")

    def error(self, status: int, message: str) -> Json:
        return {"error": {"code": status, "message": message}}

    def activity(self, query: Query) -> Json:
        """Answer a request for the completed days of the last thirty."""
        today = self.bill.now().date()
        wanted = self._date(query.one("date"), today)
        key = query.one("api_key_hash")
        by_workspace = query.one("group_by") == "workspace"
        groups = ["date", "model", *(["workspace_id"] if by_workspace else [])]
        values = {
            "date": self._day,
            "model": lambda each: each.model,
            "workspace_id": lambda each: each.served.project or "default",
        }
        found = grouped(
            (
                each
                for each in self.bill.charged("openrouter")
                if today - timedelta(days=_DAYS) <= self._day(each) < today
                and wanted in (None, self._day(each))
                and key in ("", each.served.api_key_id)
            ),
            groups,
            values,
        )
        return {
            "data": [
                self._item(charged, dict(zip(groups, names, strict=True)))
                for names, charged in found.items()
            ]
        }

    def keys(self, query: Query) -> Json:
        """Answer a request for the list of API keys."""
        offset = query.one("offset", "0")
        start = int(offset) if offset.isdigit() else 0
        listed = [_api_key(key) for key in self.bill.keys("openrouter")]
        return {"data": listed[start : start + 100]}

    def key(self, query: Query, key_id: str) -> Json:
        """Answer a request for one API key."""
        for key in self.bill.keys("openrouter"):
            if key.id == key_id:
                return {"data": _api_key(key)}
        raise AdminError(404, "API key not found")

    def _day(self, each: Charged) -> date:
        return each.moment.astimezone(self.bill.zone).date()

    @staticmethod
    def _date(text: str, today: date) -> date | None:
        if not text:
            return None
        try:
            wanted = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
        except ValueError:
            raise AdminError(400, "Date must be in YYYY-MM-DD format") from None
        if not today - timedelta(days=_DAYS) <= wanted < today:
            raise AdminError(400, "Date must be within the last 30 (completed) UTC days")
        return wanted

    def _item(self, charged: list[Charged], names: Mapping[str, object]) -> Json:
        model = charged[0].model
        cost = sum(
            (
                Decimal(str(each.charge.counts.cost or 0)) * self.bill.factor(each)
                for each in charged
            ),
            Decimal(0),
        )
        item = {
            "model_permaslug": model,
            "endpoint_id": hashlib.sha256(model.encode()).hexdigest()[:32],
            "provider_name": "Stub",
            "usage": self.bill.shown(cost, float),
            "byok_usage_inference": 0,
            "requests": sum(each.charge.requests for each in charged),
            "prompt_tokens": total(charged, "prompt"),
            "completion_tokens": total(charged, "completion"),
            "reasoning_tokens": total(charged, "reasoning"),
            "cached_tokens": total(charged, "cached"),
        }
        return {**names, "date": str(names["date"]), **item}


def _api_key(key: ApiKey) -> Json:
    return {
        "hash": key.id,
        "name": key.name,
        "label": f"sk-or-v1-...{key.hint}",
        "disabled": False,
        "limit": None,
        "limit_remaining": None,
        "usage": 0,
        "created_at": "2025-01-01T00:00:00.000Z",
        "updated_at": None,
    }
