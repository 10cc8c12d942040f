"""Users and sections by what people call them."""

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

from usage_tracking import conf, places
from usage_tracking.models import AIUsageLog

#: How many names are looked through for one that was meant.
_NAMES = 1000


class NotFound(LookupError):
    """No such user or section; `near` are the names that may have been meant."""

    def __init__(self, message: str, near: Sequence[str] = ()) -> None:
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        super().__init__(message + hint)
        self.near = tuple(near)


class Name(NamedTuple):
    username: str
    email: str | None


def find_user(text: str, *, using: str | None = None) -> Any:
    """The user whose name or primary key `text` is; NotFound if there is none, or more than one."""
    text = _askable(text)
    model = get_user_model()
    name = model.USERNAME_FIELD
    # Not the default manager, which may hide users who have logs.
    everybody = model._base_manager.using(
        places.users_of(using) if using else router.db_for_read(model)
    )
    wanted = Q(**{name: text})
    with suppress(ValidationError):
        wanted |= Q(pk=model._meta.pk.to_python(text))
    found = list(everybody.filter(wanted)[:2])
    if len(found) == 1:
        return found[0]
    if found:
        both = " and ".join(f"{user.get_username()!r} (id {user.pk})" for user in found)
        raise NotFound(f"User {text!r} is the name of one and the id of another: {both}.")
    alike = everybody.filter(
        Q(**{f"{name}__istartswith": text[:2]}) | Q(**{f"{name}__iendswith": text[-2:]})
    )
    names = map(str, alike.order_by(name).values_list(name, flat=True)[:_NAMES])
    raise NotFound(f"There is no user {text!r}.", _near(text, names))


def find_section(code: str, *, using: str | None = None) -> str:
    """`code` if it is a section of the site or of any call; else NotFound."""
    code = _askable(code)
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
    """The names of the users with these keys, and their addresses if users have such a field."""
    model = get_user_model()
    columns = ["pk", model.USERNAME_FIELD]
    email = model.get_email_field_name()
    with suppress(FieldDoesNotExist):
        columns.append(model._meta.get_field(email).name)
    users = model._base_manager.using(places.users_of(using))
    rows = users.filter(pk__in=list(pks)).values_list(*columns)
    return {
        pk: Name(str(name), str(address[0]) if address and address[0] else None)
        for pk, name, *address in rows
    }


def _askable(text: str) -> str:
    # No name has a NUL, and PostgreSQL refuses to be asked for one.
    return text.replace("\x00", "")


def _near(word: str, names: Iterable[str]) -> list[str]:
    folded = {name.casefold(): name for name in islice(names, _NAMES)}
    return [folded[name] for name in get_close_matches(word.casefold(), folded, n=2)]
