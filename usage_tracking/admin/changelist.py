"""Lists of any length, which are shown without counting or scanning the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Subquery
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from ..days import DayRange
from ..models import today
from ..pages.formatting import day_text
from .calendar import Calendar, calendar_of
from .filters import ALL_TIME, RECENT, PeriodFilter, id_in
from .sums import Figure, figures_of

#: Reaching a page costs reading all pages before it. To see older rows, choose a period.
MAX_PAGES = 100


@dataclass(frozen=True, slots=True)
class ListSums:
    """The sums above a list, and what they cover."""

    period: str
    #: The filters in force, as text.
    filters: tuple[str, ...]
    figures: tuple[Figure, ...]
    is_all_time: bool


class UncountedChangeList(ChangeList):
    """A list that reads one row more than it shows, to know whether there is another page."""

    model_admin: Any
    has_more: bool
    first_shown: int
    last_shown: int

    def get_filters(self, request: HttpRequest) -> Any:
        """Return the filters, unless a parameter has a NUL, which PostgreSQL rejects in a query."""
        if any("\x00" in text for texts in self.get_filters_params().values() for text in texts):
            raise IncorrectLookupParameters
        return super().get_filters(request)

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows of the page, and set what Django's templates need, without a COUNT."""
        size = self.list_per_page
        if not 1 <= self.page_num <= MAX_PAGES:
            raise IncorrectLookupParameters
        start = (self.page_num - 1) * size
        rows = list(self.queryset[start : start + size + 1])
        self.result_list: Any = rows[:size]
        self.has_more = len(rows) > size
        self.first_shown = start + 1
        self.last_shown = start + len(self.result_list)
        # Pages are known to exist up to this one and, if there are more rows, the next. Django
        # raises EmptyPage for a page that the paginator does not have, so an empty one counts too.
        known = min(start + max(len(rows), 1), MAX_PAGES * size) if start else len(rows)
        self.paginator = Paginator(range(known), size)
        self.multi_page = known > size
        self.result_count = known
        self.full_result_count = known
        self.show_full_result_count = False
        self.show_admin_actions = bool(rows)
        self.can_show_all = False

    @property
    def pages_end(self) -> bool:
        """Whether this is the last page that can be shown although rows follow."""
        return self.has_more and self.page_num == MAX_PAGES

    @cached_property
    def period(self) -> PeriodFilter:
        """The filter by period."""
        return next(spec for spec in self.filter_specs if isinstance(spec, PeriodFilter))

    @property
    def period_text(self) -> str:
        """The days that the list shows."""
        return period_text(self.period.days)

    @property
    def calendar(self) -> Calendar | None:
        """The years, months or days to filter by next; None for an empty table."""
        column = self.period.column
        rows = self.root_queryset.order_by(column)
        last = Subquery(rows.reverse().values(column)[:1])
        # Each end is read from the index. SQLite would scan it for MIN and MAX in one statement.
        ends = rows.annotate(last_day=last).values_list(column, "last_day").first()
        if ends is None:
            return None
        first, last = ends
        return calendar_of(first, last, self.period.days)

    def url_of(self, days: DayRange) -> str:
        """Return the list's query string with `days` as its period; without ends, all time."""
        return self.get_query_string(self.period.parameters_of(days), PeriodFilter.parameters)

    @property
    def all_time_url(self) -> str:
        """The query string that makes the list and its sums cover all time."""
        return self.get_query_string(ALL_TIME.parameters, PeriodFilter.parameters)

    @property
    def recent_url(self) -> str:
        """The query string of the past 30 days."""
        return self.url_of(self._recent)

    @property
    def parameters_but_period(self) -> dict[str, str]:
        """The parameters of the list to keep when another period is chosen."""
        return {k: v for k, v in self.params.items() if k not in PeriodFilter.parameters}

    @cached_property
    def sums(self) -> ListSums | None:
        """The sums over all matching rows of the chosen period, by default the past 30 days.

        None if nothing is chosen at all: the list would cost more with each call of 30 days.
        """
        if not (self.query or self._filters_rows):
            return None
        is_all = self.period.is_chosen or bool(self.period.default) or self._names_one_row
        days = self.period.days if is_all else self._recent
        rows = self.queryset if is_all else self.period.narrowed(self.queryset, days)
        totals = self.model_admin.totals_of(rows)
        return ListSums(
            period=period_text(days),
            filters=tuple(self._filters()),
            figures=tuple(figures_of(totals)),
            is_all_time=not days,
        )

    @property
    def _recent(self) -> DayRange:
        return DayRange.until(today(), RECENT)

    @property
    def _names_one_row(self) -> bool:
        return id_in(self.query) is not None

    @property
    def _filters_rows(self) -> bool:
        # An empty field of the period means any time; "" as a provider means the unknown one.
        parameters = self.get_filters_params().items()
        return any(any(given) or name not in PeriodFilter.parameters for name, given in parameters)

    def _filters(self) -> Iterator[str]:
        """Yield the filters in force, other than the period."""
        if self.query:
            yield _("search for “%(text)s”") % {"text": self.query}
        for spec in self.filter_specs:
            is_used = any(name in self.params for name in spec.expected_parameters())
            if is_used and spec is not self.period:
                chosen = [str(each["display"]) for each in spec.choices(self) if each["selected"]]
                yield f"{spec.title}: {', '.join(chosen)}"


def period_text(days: DayRange) -> str:
    """Format the days that a list shows."""
    return day_text(days) if days else _("all time")
