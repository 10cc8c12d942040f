"""How clients of the API log in."""

from __future__ import annotations

from rest_framework.authentication import TokenAuthentication


class BearerAuthentication(TokenAuthentication):
    """`Authorization: Bearer <token>`, as most clients send it."""

    keyword = "Bearer"
