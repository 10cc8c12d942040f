"""CSV, for spreadsheets and billing systems."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BaseRenderer

from ..exports.cells import cell


class CSVRenderer(BaseRenderer):
    """The rows of a page as CSV in UTF-8, with a header line. Texts are never formulas.

    The view names the columns in `csv_columns`, so that a page without rows has them too.
    """

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the lines of `data["results"]`."""
        if data is None or renderer_context is None:
            return b""
        columns = renderer_context["view"].csv_columns
        file = io.StringIO()
        lines = csv.writer(file)
        lines.writerow(columns)
        for row in data["results"]:
            lines.writerow([cell(row.get(name)) for name in columns])
        return file.getvalue().encode()
