"""Authentication of API clients."""

from __future__ import annotations

from rest_framework.authentication import TokenAuthentication


class BearerAuthentication(TokenAuthentication):
    """Authenticate the header `Authorization: Bearer <token>`, which most clients send."""

    keyword = "Bearer"
