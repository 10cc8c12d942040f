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
_NUMBERS = (bool, int, float)


def cell(value: Any) -> Any:
    """Return a cell in which a text is never a formula; unknown values are empty."""
    if isinstance(value, str):
        if value[:1].isalnum():
            return value
        # Spreadsheets skip leading spaces.
        is_formula = value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA)
        return f"'{value}" if is_formula else value
    if isinstance(value, dt.date):  # includes datetime
        return value.isoformat()
    if isinstance(value, Decimal):
        return decimal_text(value)
    if value is None:
        return ""
    return value if isinstance(value, _NUMBERS) else cell(_text(value))


def decimal_text(value: Decimal) -> str:
    """Return all digits, without an exponent and without zeros at the end."""
    return format(value.normalize(), "f")


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=DjangoJSONEncoder().default)
    return str(value)
