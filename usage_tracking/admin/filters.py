"""Filters whose choices are cheap: they read no DISTINCT over the log and no list of all users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import ExpressionWrapper, F, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import conf
from ..days import EARLIEST, END, START, DayRange, InvalidDaysError
from ..models import AIUsageLog, today
from ..pages.cards import UNKNOWN_LABELS
from ..pages.formatting import day_text
from ..querysets import UNKNOWN_USAGE, UNPRICED
from ..reports import from_day, to_day

#: How many of the newest calls the choices of providers and models are read from.
NEWEST = 2_000
#: The period that means all time where no period means another, such as in a search.
ALL_TIME = DayRange(EARLIEST)
#: The number of days that count as recent.
RECENT = 30


def id_in(search_term: str) -> UUID | None:
    """Return the id that `search_term` is, None if it is any other text."""
    try:
        return UUID(search_term.strip())
    except ValueError:
        return None


def report_invalid_period(request: HttpRequest, error: InvalidDaysError) -> None:
    """Show on the page which period of the URL is invalid."""
    text = gettext("“%(text)s” is not a valid period. Write days as YYYY-MM-DD.")
    messages.error(request, text % {"text": error.text})


class PeriodFilter(admin.ListFilter):
    """A range of days, both ends included: common ones as links, any other by two date fields."""

    title = _("period")
    template = "admin/usage_tracking/period_filter.html"
    parameters = [START, END]
    #: For themes, which expect a name of each filter. Not `field`: django-grappelli reads its name.
    parameter_name = START
    #: The column that has the day of a row.
    column = "day"

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        given = {name: params.pop(name)[-1] for name in self.parameters if name in params}
        try:
            chosen = DayRange.read(given)
        except InvalidDaysError as error:
            report_invalid_period(request, error)
            raise IncorrectLookupParameters from error
        self.used_parameters.update(given)
        self.is_chosen = bool(chosen)
        #: The days that the list shows if the URL names none; without ends, all of them.
        self.default = self.default_days(request.GET.get(SEARCH_VAR, "").strip())
        self.days = DayRange() if chosen == ALL_TIME else chosen or self.default

    def default_days(self, search_term: str) -> DayRange:
        """Return the days to show if the URL names none."""
        return DayRange()

    def expected_parameters(self) -> list[str | None]:
        """Return the query parameters of the period."""
        return [*self.parameters]

    def has_output(self) -> bool:
        """Return True: the common periods are always shown."""
        return True

    def parameters_of(self, days: DayRange) -> dict[str, str]:
        """Return the query parameters that make the list show `days`; without ends, all of them."""
        return (days or (ALL_TIME if self.default else days)).parameters

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield the common periods, after the chosen one if it is another."""
        day = today()
        usual = {
            DayRange(): _("Any time"),
            DayRange(day, day): _("Today"),
            DayRange.until(day, 7): _("Past 7 days"),
            DayRange.until(day, RECENT): _("Past 30 days"),
            DayRange.until(day, 90): _("Past 90 days"),
        }
        chosen = {} if self.days in usual else {self.days: day_text(self.days)}
        for days, label in (chosen | usual).items():
            yield {
                "selected": self.days == days,
                "query_string": changelist.get_query_string(
                    self.parameters_of(days), remove=self.parameters
                ),
                "display": label,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow `queryset` to the chosen days."""
        return self.narrowed(queryset, self.days)

    def narrowed(self, queryset: QuerySet[Any], days: DayRange) -> QuerySet[Any]:
        """Narrow `queryset` to `days`."""
        raise NotImplementedError


class LogPeriodFilter(PeriodFilter):
    """The period of the list of calls. A search for text, which no index helps, is in a recent one.

    It can be told to search all time: the URL then names `ALL_TIME`.
    """

    def default_days(self, search_term: str) -> DayRange:
        """Return the past 30 days for a search, unless it is for an id."""
        if not search_term or id_in(search_term):
            return DayRange()
        return DayRange.until(today(), RECENT)

    def narrowed(self, queryset: QuerySet[Any], days: DayRange) -> QuerySet[Any]:
        """Narrow `queryset` to `days`, by an index."""
        if days.first:
            queryset = from_day(queryset, days.first)
        return to_day(queryset, days.last) if days.last else queryset


class DailyPeriodFilter(PeriodFilter):
    """The period of the list of daily rows."""

    column = "date"

    def narrowed(self, queryset: QuerySet[Any], days: DayRange) -> QuerySet[Any]:
        """Narrow `queryset` to `days`."""
        if days.first:
            queryset = queryset.filter(date__gte=days.first)
        return queryset.filter(date__lte=days.last) if days.last else queryset


class NameFilter(admin.SimpleListFilter):
    """Rows whose field equals a text. A link may choose a text that is not among the choices."""

    def has_output(self) -> bool:
        """Return True, even without choices."""
        return True

    def names(self, request: HttpRequest, model_admin: Any) -> dict[str, Any]:
        """Return the choices: values of the field and their labels."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the choices, and the chosen text if it is not one of them."""
        names = self.names(request, model_admin)
        value = self.used_parameters.get(str(self.parameter_name))
        if value is not None:
            names.setdefault(value, value)
        return [(name, label or gettext("(none)")) for name, label in names.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow `queryset` to the chosen text."""
        value = self.value()
        return queryset if value is None else queryset.filter(**{str(self.parameter_name): value})


class SectionFilter(NameFilter):
    """The calls of one section; the choices are those of AI_USAGE_SECTIONS."""

    title = _("section")
    parameter_name = "section"

    def names(self, request: HttpRequest, model_admin: Any) -> dict[str, Any]:
        """Return the sections of the setting."""
        return conf.sections()


class ProviderFilter(NameFilter):
    """The calls to one provider."""

    title = _("provider")
    parameter_name = "provider"

    def names(self, request: HttpRequest, model_admin: Any) -> dict[str, Any]:
        """Return the providers of the newest calls."""
        return {provider: provider for provider, model in _newest(request, model_admin)}


class ModelFilter(NameFilter):
    """The calls of one model."""

    title = _("model")
    parameter_name = "model_name"

    def names(self, request: HttpRequest, model_admin: Any) -> dict[str, Any]:
        """Return the models of the newest calls, only those of the chosen provider."""
        provider = request.GET.get("provider")
        names = sorted({name for p, name in _newest(request, model_admin) if provider in (None, p)})
        return {name: name for name in names}


class UnknownFilter(admin.SimpleListFilter):
    """Calls without a user, known usage or a cost. The dashboard links here."""

    title = _("missing data")
    parameter_name = "unknown"
    conditions = {
        "user": Q(user=None),
        "usage": UNKNOWN_USAGE,
        "cost": UNPRICED,
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the labels."""
        return list(UNKNOWN_LABELS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow `queryset` to the calls without the chosen value."""
        value = self.value()
        if value is None:
            return queryset
        if value not in self.conditions:
            raise IncorrectLookupParameters
        return queryset.filter(self.conditions[value])


class UserFilter(admin.SimpleListFilter):
    """One user's rows. It has no choices, and is hidden until a link has chosen a user."""

    title = _("user")
    parameter_name = "user"

    def has_output(self) -> bool:
        """Return whether a user is chosen."""
        return self.value() is not None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the chosen user as the only choice."""
        self.user = None
        value = self.used_parameters.get("user")
        if value is None:
            return []
        model = get_user_model()
        try:
            self.pk = model._meta.pk.to_python(value)
        except ValidationError as error:
            raise IncorrectLookupParameters from error
        # Not the default manager: it may hide users who have logs.
        self.user = model._base_manager.filter(pk=self.pk).first()
        return [(value, self.user.get_username() if self.user else value)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow `queryset` to the chosen user's rows."""
        if self.value() is None:
            return queryset
        # Rows may name a user who was deleted in another database. Unlike the foreign key, the key
        # itself may be compared with any number.
        key = ExpressionWrapper(F("user_id"), output_field=get_user_model()._meta.pk)
        found: QuerySet[Any] = queryset.alias(user_key=key).filter(user_key=self.pk)
        return found


def _newest(request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
    """Return the pairs of provider and model of the newest calls, read once for a request."""
    known: list[tuple[str, str]] | None = getattr(request, "_ai_usage_newest", None)
    if known is None:
        logs: QuerySet[AIUsageLog] = model_admin.get_queryset(request).order_by("-created_at")
        known = sorted(set(logs.values_list("provider", "model_name")[:NEWEST]))
        request._ai_usage_newest = known  # type: ignore[attr-defined]
    return known
