"""The demo's users, with passwords that everybody knows."""

from __future__ import annotations

from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token

VISITORS = ("alice", "bob", "carol")
ADMIN = "admin"
_DOMAIN = "demo.invalid"


class ForeignUserError(Exception):
    """A user of that name is in the database, but the demo did not make them."""


def create_accounts(*, with_admin: bool) -> list[User]:
    """Users whose password is their name; those of an earlier demo are used again."""
    users = [_account(name) for name in VISITORS]
    if with_admin:
        users.append(_account(ADMIN, is_staff=True, is_superuser=True))
    return users


def token_of(name: str) -> str:
    """The token with which that user asks the API."""
    token, _ = Token.objects.get_or_create(user=User.objects.get(username=name))
    return str(token.key)


def _account(name: str, **rights: bool) -> User:
    email = f"{name}@{_DOMAIN}"
    user = User.objects.filter(username=name).first()
    if user is None:
        user = User(username=name, email=email, **rights)
        user.set_password(name)
        user.save()
    elif user.email != email:
        # DATABASE_URL may name a database that people work with.
        raise ForeignUserError(
            f"The database already has a user '{name}' who is not the demo's. "
            "Point DATABASE_URL at another database, or unset it."
        )
    return user
