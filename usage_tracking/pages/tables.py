"""The tables of the dashboard: the calls by section, model, user and error."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from ..reports import TOP, PeriodReport, Selection, Totals, UnpricedModel
from .cards import ListUrl
from .formatting import average_text, cost_text, count, share, tokens_text
from .panels import model_label

#: The names of the tables with a line for each section, model, user and error.
LISTS = ("sections", "models", "users", "errors")
#: The dimensions of the command `usage_report` by table.
_DIMENSIONS = {"sections": "section", "models": "provider,model", "users": "user"}
#: How many lines a table shows if it is to show all.
MOST_LINES = 1_000
#: How much of an error message a link searches for, in characters.
_SEARCHED = 80


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table; `url` is the list of its calls."""

    label: str
    url: str
    cells: tuple[str, ...]
    css_class: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A breakdown of the calls."""

    #: One of LISTS, or another name; the id on the page.
    name: str
    title: str
    headings: tuple[str, ...]
    lines: tuple[Line, ...]
    #: How many lines there are, if the table leaves out some.
    more: str = ""
    #: The command that prints all lines, if they are too many for a page.
    command: str = ""
    #: A link to the page with more lines of this table, or with fewer.
    link: tuple[str, str] | None = None


def tables_of(
    report: PeriodReport, url: ListUrl, full: str, full_url: Callable[[str], str]
) -> list[Table]:
    """Return the tables of `report`, the most expensive lines first, and errors by calls.

    Args:
        report: What to show, with as many lines as the longest table.
        url: Makes the link of a line.
        full: The name of the table that shows all lines; "" for none.
        full_url: Returns the page on which the table with a name shows all lines.
    """
    cost, failures = report.totals.cost, report.totals.failures

    def shown(name: str, *headings: str, lines: Sequence[Line], number: int) -> Table:
        kept = tuple(lines[: MOST_LINES if name == full else TOP])
        more = ""
        if number > len(kept):
            numbers = {"shown": count(len(kept)), "all": count(number)}
            more = _("Showing the first %(shown)s of %(all)s.") % numbers
        link = None
        if name == full and number > TOP:
            link = _("Show the first %(n)s") % {"n": count(TOP)}, full_url("")
        elif name != full and more:
            text = _("Show all") if number <= MOST_LINES else _("Show the first %(n)s")
            link = text % {"n": count(MOST_LINES)}, full_url(name)
        command = _command(report.selection, name) if name == full and more else ""
        return Table(name, headings[0], headings[1:], kept, more, command, link)

    def by_cost(label: str, totals: Totals, css_class: str = "", **filters: Any) -> Line:
        return Line(label, url(**filters), _cells(totals, cost), css_class)

    sums = (
        _("Cost"),
        _("Share of cost"),
        _("Calls"),
        _("Tokens"),
        _("Failures"),
        _("Average time"),
    )
    users = shown(
        "users",
        _("Users"),
        _("User"),
        *sums,
        lines=[
            by_cost(str(x.username), x.figures, user=x.user_id)
            for x in report.top_users
            if x.user_id is not None
        ],
        number=report.users,
    )
    without_user = tuple(
        by_cost(_("Unattributed"), x.figures, "ai-usage-unknown", unknown="user")
        for x in report.top_users
        if x.user_id is None
    )
    return [
        shown(
            "sections",
            _("Sections"),
            _("Section"),
            *sums,
            lines=[
                by_cost(x.display_name, x.figures, section=x.section) for x in report.by_section
            ],
            number=len(report.by_section),
        ),
        shown(
            "models",
            _("Models"),
            _("Model"),
            *sums,
            lines=[
                by_cost(
                    model_label(x.provider, x.model_name),
                    x.figures,
                    provider=x.provider,
                    model_name=x.model_name,
                )
                for x in report.by_model
            ],
            number=report.models,
        ),
        replace(users, lines=users.lines + without_user),
        shown(
            "errors",
            _("Failures"),
            _("Error"),
            _("Calls"),
            _("Share of failures"),
            lines=[
                Line(
                    x.error_message or _("(no message)"),
                    # No search finds the calls without a message.
                    url(success__exact=0, q=text) if text else "",
                    (count(x.figures.calls), share(x.figures.calls, failures)),
                )
                for x in report.by_error
                for text in [x.error_message[:_SEARCHED].strip()]
            ],
            number=report.errors,
        ),
    ]


def unpriced_table(models: Sequence[UnpricedModel], url: ListUrl) -> Table:
    """Return the models with unpriced calls."""
    return Table(
        "unpriced",
        _("Models without a price"),
        (_("Model"), _("Calls"), _("Units"), _("Reason")),
        tuple(
            Line(
                model_label(model.provider, model.model_name),
                url(unknown="cost", provider=model.provider, model_name=model.model_name),
                (count(model.calls), ", ".join(model.units), model.reason),
            )
            for model in models
        ),
    )


def _command(selection: Selection, name: str) -> str:
    """Return the command that adds up the same calls without a limit; "" for errors."""
    if name not in _DIMENSIONS:
        return ""
    words = ["python", "manage.py", "usage_report", "--by", _DIMENSIONS[name]]
    words += ["--from", str(selection.start), "--to", str(selection.end)]
    if selection.user is not None:
        words.append(f"--user={selection.user.get_username()}")
    for option, value in (
        ("section", selection.section),
        ("provider", selection.provider),
        ("model", selection.model_name),
    ):
        if value is not None:
            words.append(f"--{option}={value}")
    return shlex.join(words)


def _cells(totals: Totals, cost: Decimal | None) -> tuple[str, ...]:
    return (
        cost_text(totals),
        share(totals.cost, cost),
        count(totals.calls),
        tokens_text(totals),
        count(totals.failures),
        average_text(totals),
    )
