"""Lists of any length, which are shown without counting or scanning the table."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.http import HttpRequest

from .calendar import Calendar, calendar_of
from .filters import PeriodFilter

#: Reaching a page costs reading all pages before it. To see older rows, choose a period.
MAX_PAGES = 100


class UncountedChangeList(ChangeList):
    """A list that reads one row more than it shows, to know whether there is another page."""

    has_more: bool
    first_shown: int
    last_shown: int

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

    @property
    def calendar(self) -> Calendar | None:
        """The years, months or days to filter by next; None for an empty table."""
        period = next(spec for spec in self.filter_specs if isinstance(spec, PeriodFilter))
        days = self.root_queryset.order_by(period.field).values_list(period.field, flat=True)
        # Two statements, each at one end of the index: SQLite scans for MIN and MAX in one.
        first, last = days.first(), days.last()
        return calendar_of(first, last, period.days) if first and last else None

    def calendar_url(self, parameters: dict[str, str]) -> str:
        """Return the list's query string with `parameters` as its period."""
        return self.get_query_string(parameters, remove=PeriodFilter.parameters)
