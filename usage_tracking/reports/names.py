"""Find users and sections by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import router
from django.db.models import Q

from .. import conf, places
from ..models import AIUsageLog

#: How many names to search for similar ones.
_NAMES = 1000


class NotFound(LookupError):
    """There is no such user or section. `near` lists similar names."""

    def __init__(self, message: str, near: Sequence[str] = ()) -> None:
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        super().__init__(message + hint)
        self.near = tuple(near)


class Name(NamedTuple):
    """The name of a user; `email` is None without an address."""

    username: str
    email: str | None


def find_user(text: str, *, using: str | None = None) -> Any:
    """Return the user with this name or primary key.

    Args:
        text: The value of `USERNAME_FIELD`, or the primary key as text.
        using: The database alias of the log; the users are read from where its users are.

    Raises:
        NotFound: There is no such user, or `text` is the name of one and the key of another.
    """
    text = without_nul(text)
    model = get_user_model()
    name = model.USERNAME_FIELD
    # Not the default manager: it may hide users who have logs.
    users = model._base_manager.using(
        places.users_of(using) if using else router.db_for_read(model)
    )
    wanted = Q(**{name: text})
    with suppress(ValidationError):
        wanted |= Q(pk=model._meta.pk.to_python(text))
    found = list(users.filter(wanted)[:2])
    if len(found) == 1:
        return found[0]
    if found:
        both = " and ".join(f"{user.get_username()!r} (id {user.pk})" for user in found)
        raise NotFound(f"User {text!r} is the name of one and the id of another: {both}.")
    similar = users.filter(
        Q(**{f"{name}__istartswith": text[:2]}) | Q(**{f"{name}__iendswith": text[-2:]})
    )
    names = map(str, similar.order_by(name).values_list(name, flat=True)[:_NAMES])
    raise NotFound(f"There is no user {text!r}.", _near(text, names))


def find_section(code: str, *, using: str | None = None) -> str:
    """Return `code` if AI_USAGE_SECTIONS or any call has it.

    Raises:
        NotFound: Neither has it. The message suggests similar codes.
    """
    code = without_nul(code)
    declared = conf.sections()
    using = using or router.db_for_read(AIUsageLog)
    if code in declared or AIUsageLog.objects.using(using).filter(section=code).exists():
        return code
    near = _near(code, declared)
    if not near:
        codes = {label: code for code, label in declared.items()}
        near = [codes[label] for label in _near(code, codes)]
    raise NotFound(f"There is no section {code!r}.", near)


def names_of(pks: Iterable[Any], *, using: str) -> dict[Any, Name]:
    """Return the names of the users with these primary keys.

    A user that does not exist is named by its key. The email is None if users have no such field.
    """
    pks = list(pks)
    if not pks:
        return {}
    model = get_user_model()
    columns = ["pk", model.USERNAME_FIELD]
    email = model.get_email_field_name()
    with suppress(FieldDoesNotExist):
        columns.append(model._meta.get_field(email).name)
    users = model._base_manager.using(places.users_of(using))
    rows = users.filter(pk__in=pks).values_list(*columns)
    return {pk: Name(str(pk), None) for pk in pks} | {
        pk: Name(str(name), str(address[0]) if address and address[0] else None)
        for pk, name, *address in rows
    }


def without_nul(text: str) -> str:
    """Return `text` without NUL: no name contains it, and PostgreSQL rejects it in a query."""
    return text.replace("\x00", "")


def _near(word: str, names: Iterable[str]) -> list[str]:
    folded = {name.casefold(): name for name in islice(names, _NAMES)}
    return [folded[name] for name in get_close_matches(word.casefold(), folded, n=2)]
