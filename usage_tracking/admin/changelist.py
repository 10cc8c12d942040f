"""Lists of any length, that are neither counted nor scanned to be shown."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.http import HttpRequest

from .calendar import Steps, steps
from .filters import PeriodFilter

#: A page far down is found by reading all before it. Who looks for more than this chooses a period.
MAX_PAGES = 100


class UncountedChangeList(ChangeList):
    """Reads one row more than the page shows: whether there is another page is all it tells."""

    has_more: bool
    first_shown: int
    last_shown: int

    def get_results(self, request: HttpRequest) -> None:
        size = self.list_per_page
        if not 1 <= self.page_num <= MAX_PAGES:
            raise IncorrectLookupParameters
        start = (self.page_num - 1) * size
        rows = list(self.queryset[start : start + size + 1])
        self.result_list: Any = rows[:size]
        self.has_more = len(rows) > size
        self.first_shown = start + 1
        self.last_shown = start + len(self.result_list)
        # What Django's templates ask for. The pages that are known to exist are one more than this.
        known = min(start + len(rows), MAX_PAGES * size)
        self.paginator = Paginator(range(known), size)
        self.multi_page = known > size
        self.result_count = known
        self.full_result_count = known
        self.show_full_result_count = False
        self.show_admin_actions = bool(rows)
        self.can_show_all = False

    @property
    def pages_end(self) -> bool:
        """Whether rows follow that no page shows."""
        return self.has_more and self.page_num == MAX_PAGES

    @property
    def calendar(self) -> Steps | None:
        """Years, months or days to go to from here; None for an empty table."""
        period = next(spec for spec in self.filter_specs if isinstance(spec, PeriodFilter))
        days = self.root_queryset.order_by(period.field).values_list(period.field, flat=True)
        # A look at either end of the index, where SQLite would scan for both in one statement.
        first, last = days.first(), days.last()
        return steps(first, last, period.days) if first and last else None

    def calendar_url(self, parameters: dict[str, str]) -> str:
        return self.get_query_string(parameters, remove=PeriodFilter.parameters)
