"""Usage as data: read-only queries behind the commands, the admin and the API."""

from __future__ import annotations

from .breakdowns import (
    DIMENSIONS,
    Breakdown,
    BreakdownLine,
    breakdown,
    breakdown_lines,
    columns_of,
)
from .comparison import Comparison, Forecast, PeriodBefore, SumsBefore, compare
from .daily_rows import DailyDayLine, DailyRowsReport, DailyUserLine, daily_rows_report
from .day import Backlog, DayReport, Period, backlog, day_report
from .lines import TOP, ErrorLine, ModelLine, SectionLine, UserLine
from .names import Name, NotFound, find_section, find_user
from .period import DayLine, PeriodReport, latest_logs, period_report, unpriced_of
from .reconciled import (
    Explanation,
    Measure,
    Measures,
    ProviderReconciliation,
    ReconciledLine,
    Reconciliation,
    tenths,
)
from .reconciling import BY, reconciliation
from .selection import Bound, Selection, from_day, since, to_day, until
from .stacks import STACKS, Column
from .totals import COST_STEP, Figures, Totals
from .unpriced import REPRICE, UnpricedModel, setting_for, unpriced_models

__all__ = [
    "BY",
    "COST_STEP",
    "DIMENSIONS",
    "REPRICE",
    "STACKS",
    "TOP",
    "Backlog",
    "Bound",
    "Breakdown",
    "BreakdownLine",
    "Column",
    "Comparison",
    "DailyDayLine",
    "DailyRowsReport",
    "DailyUserLine",
    "DayLine",
    "DayReport",
    "ErrorLine",
    "Explanation",
    "Figures",
    "Forecast",
    "Measure",
    "Measures",
    "ModelLine",
    "Name",
    "NotFound",
    "Period",
    "PeriodBefore",
    "PeriodReport",
    "ProviderReconciliation",
    "ReconciledLine",
    "Reconciliation",
    "SectionLine",
    "Selection",
    "SumsBefore",
    "Totals",
    "UnpricedModel",
    "UserLine",
    "backlog",
    "breakdown",
    "breakdown_lines",
    "columns_of",
    "compare",
    "daily_rows_report",
    "day_report",
    "find_section",
    "find_user",
    "from_day",
    "latest_logs",
    "period_report",
    "reconciliation",
    "setting_for",
    "since",
    "tenths",
    "to_day",
    "unpriced_models",
    "unpriced_of",
    "until",
]
