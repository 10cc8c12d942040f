"""Name an export after the list that it contains, and name the command that writes the same."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..days import EARLIEST, END, START, DayRange
from ..models import AIUsageLog

#: The options of `usage_report`, by the parameters of the lists.
_OPTIONS = {
    START: "--from",
    END: "--to",
    "user": "--user",
    "section": "--section",
    "provider": "--provider",
    "model_name": "--model",
}
#: Parameters of a list that choose no rows.
_NEUTRAL = {"p", "o", "e", "all", "_facets", "_popup", "_to_field"}
#: The parameters whose values are in the name.
_NAMED = ("section", "user")
_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")
_LONGEST = 50


def file_name(model: type[Any], parameters: Mapping[str, str], file_format: str) -> str:
    """Return a name with the period, the section and the user of a list.

    Args:
        model: The model of the list.
        parameters: The query parameters of the list.
        file_format: The extension.
    """
    period = DayRange.read(parameters)
    parts = [str(model._meta.db_table), _period(period)]
    parts += [f"{name}-{_safe(parameters[name])}" for name in _NAMED if parameters.get(name)]
    if _chosen(parameters) - {START, END, *_NAMED}:
        parts.append("filtered")
    return f"{'_'.join(parts)}.{file_format}"


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command line, and the parameters of the list that it has no option for."""

    line: str
    left_out: tuple[str, ...]


def command(model: type[Any], parameters: Mapping[str, str], file_format: str) -> CommandLine:
    """Return the command that writes the rows of a list; the arguments are those of `file_name`."""
    # A workbook cannot have more rows than the list was refused for.
    file_format = "csv" if file_format == "xlsx" else file_format
    chosen = _chosen(parameters)
    options = [f"{_OPTIONS[name]}={parameters[name]}" for name in _OPTIONS if name in chosen]
    if START not in chosen:
        options.insert(0, f"--from={EARLIEST}")  # else the command begins with the month
    line = [
        *("python", "manage.py", "usage_report"),
        f"--by={'call' if model is AIUsageLog else 'day,user'}",
        *options,
        f"--format={file_format}",
        f"--output={file_name(model, parameters, file_format)}",
    ]
    return CommandLine(shlex.join(line), tuple(sorted(chosen - _OPTIONS.keys())))


def _chosen(parameters: Mapping[str, str]) -> set[str]:
    return {name for name, value in parameters.items() if value and name not in _NEUTRAL}


def _period(days: DayRange) -> str:
    if days.first is None and days.last is None:
        return "all"
    if days.first is None:
        return f"until_{days.last}"
    return f"from_{days.first}" if days.last is None else f"{days.first}_{days.last}"


def _safe(text: str) -> str:
    """Return `text` without anything that a file system or a header could read otherwise."""
    return _UNSAFE.sub("-", text).strip("-")[:_LONGEST] or "other"
