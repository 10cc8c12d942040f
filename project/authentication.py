"""Authentication of API clients."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import TokenAuthentication
from rest_framework.request import Request


class BearerAuthentication(TokenAuthentication):
    """Authenticate `Authorization: Bearer <token>`, which most clients send, or `Token <token>`."""

    keyword = "Bearer"

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the user and the token."""
        return super().authenticate(request) or TokenAuthentication().authenticate(request)
