"""Values as the cells of a spreadsheet, also of one that is opened from CSV."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

#: The characters that begin a formula in a spreadsheet, with their full-width forms.
#: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001


def cell(value: Any) -> Any:
    """Return a cell in which a text is never a formula; unknown values are empty."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    text = value if isinstance(value, str) else _text(value)
    # Spreadsheets skip leading spaces.
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=DjangoJSONEncoder().default)
    return str(value)
