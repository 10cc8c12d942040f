"""Users of the demo, with public passwords."""

from __future__ import annotations

from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token

VISITORS = ("alice", "bob", "carol")
ADMIN = "admin"
_DOMAIN = "demo.invalid"


class ForeignUserError(Exception):
    """The database has a user of this name that the demo did not create."""


def create_accounts(*, with_admin: bool) -> list[User]:
    """Return the demo's users, whose password is their name. Reuses those of an earlier demo."""
    users = [_account(name) for name in VISITORS]
    if with_admin:
        users.append(_account(ADMIN, is_staff=True, is_superuser=True))
    return users


def token_of(name: str) -> str:
    """Return the API token of this user."""
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
        # DATABASE_URL may name a database in real use.
        raise ForeignUserError(
            f"The database already has a user '{name}' that the demo did not create. "
            "Set DATABASE_URL to another database, or unset it."
        )
    return user
