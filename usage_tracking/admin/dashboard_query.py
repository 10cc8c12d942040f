"""What the URL of the dashboard asks for, and the links that keep it."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.contrib.auth import get_permission_codename, get_user_model
from django.core.exceptions import ValidationError
from django.db import router
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from .. import places
from ..days import DayRange, InvalidDaysError
from ..models import AIUsageLog
from ..pages.tables import LISTS
from ..reports import STACKS, NotFound, find_user
from .filters import report_invalid_period

#: The default and the maximum length of the period.
DAYS, MOST_DAYS = 30, 366
#: What stands for an unknown provider or model in a filter, as in the tables.
UNKNOWN = "?"
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Query:
    """What to show."""

    days: DayRange
    stack: str = "section"
    #: The name of the table that shows all lines; "" for none.
    full: str = ""
    #: The texts of the filters `section`, `provider` and `model_name` that are set.
    names: dict[str, str] = field(default_factory=dict)
    user: Any = None
    #: The text of the filter `user`, which names none if `user` is None.
    user_text: str = ""

    @property
    def is_answerable(self) -> bool:
        """Whether the user exists, or none is asked for."""
        return self.user is not None or not self.user_text

    @property
    def filters(self) -> dict[str, Any]:
        """The filters as columns and their values, for a report or the list of calls."""
        return {name: "" if _is_unknown(name, text) else text for name, text in self.names.items()}

    @property
    def parameters(self) -> dict[str, Any]:
        """The query parameters of the dashboard that keep the filters and the stack."""
        user = {"user": self.user.pk if self.user else self.user_text} if self.user_text else {}
        stack = {} if self.stack == "section" else {"stack": self.stack}
        return self.names | user | stack

    def page(self, days: DayRange | None = None, **parameters: Any) -> str:
        """Return the query string of the dashboard of `days`, by default those shown."""
        chosen = (days or self.days).parameters | self.parameters | parameters
        return f"?{urlencode(chosen)}"


@dataclass(frozen=True, slots=True)
class Links:
    """Links to the list of calls, within the period and the filters of the dashboard."""

    query: Query
    #: The URL of the list; "" if the admin site does not have it.
    list_url: str

    @classmethod
    def within(cls, query: Query, site_name: str) -> Links:
        """Return the links within the admin site with this name."""
        try:
            url = reverse("admin:usage_tracking_aiusagelog_changelist", current_app=site_name)
        except NoReverseMatch:
            url = ""
        return cls(query, url)

    def to(self, days: DayRange | None = None, **parameters: Any) -> str:
        """Return the URL of the list of `days`, by default all days shown, with `parameters`."""
        if not self.list_url:
            return ""
        user = {"user": self.query.user.pk} if self.query.user is not None else {}
        chosen = (days or self.query.days).parameters | self.query.filters | user | parameters
        return f"{self.list_url}?{urlencode(chosen)}"

    def of_bar(self, days: DayRange, key: tuple[Any, ...] | None) -> str:
        """Return the URL of the list of the calls that a bar of a chart stands for."""
        names = STACKS[self.query.stack]
        return self.to(days, **(dict(zip(names, key, strict=True)) if key else {}))


def read_query(request: HttpRequest, today: dt.date) -> Query:
    """Return what the URL asks for. The page shows what is wrong with it."""
    given = {name: text.replace("\x00", "").strip() for name, text in request.GET.dict().items()}
    names = {name: given[name] for name in ("section", "provider", "model_name") if given.get(name)}
    text = given.get("user", "")
    return Query(
        days=_days(request, today),
        stack=_choice(request, given.get("stack", ""), [*STACKS]) or "section",
        full=_choice(request, given.get("all", ""), LISTS),
        names=names,
        user=_user(request, text) if text else None,
        user_text=text,
    )


def _days(request: HttpRequest, today: dt.date) -> DayRange:
    try:
        days = DayRange.read(request.GET.dict())
    except InvalidDaysError as error:
        report_invalid_period(request, error)
        days = DayRange()
    last = days.last or max(today, days.first or today)
    if days.first is None:
        return DayRange.until(last, DAYS)
    if (last - days.first).days >= MOST_DAYS:
        text = _("A period can have at most %(n)d days. Only the last %(n)d are shown.")
        messages.warning(request, text % {"n": MOST_DAYS})
        return DayRange.until(last, MOST_DAYS)
    return DayRange(days.first, last)


def _choice(request: HttpRequest, text: str, choices: Any) -> str:
    if text and text not in choices:
        message = _("“%(text)s” is not a valid choice. Choose one of: %(choices)s.")
        messages.error(request, message % {"text": text, "choices": ", ".join(choices)})
        return ""
    return text


def _user(request: HttpRequest, text: str) -> Any:
    """Return the user with this key, as links name it, or else with this name; None for none."""
    model = get_user_model()
    using = places.users_of(router.db_for_read(AIUsageLog))
    with suppress(ValidationError):
        # Not the default manager: it may hide users who have logs.
        found = model._base_manager.using(using).filter(pk=model._meta.pk.to_python(text)).first()
        if found is not None:
            return found
    try:
        return find_user(text)
    except NotFound as error:
        message = _("There is no user “%(text)s”.") % {"text": text}
        if error.near and _may_view_users(request):
            message += " " + _("Did you mean %(names)s?") % {"names": ", ".join(error.near)}
        messages.error(request, message)
        return None


def _may_view_users(request: HttpRequest) -> bool:
    opts = get_user_model()._meta
    names = (get_permission_codename(action, opts) for action in ("view", "change"))
    return any(request.user.has_perm(f"{opts.app_label}.{name}") for name in names)


def _is_unknown(name: str, text: str) -> bool:
    return text == UNKNOWN and name != "section"
