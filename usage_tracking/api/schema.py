"""What the views tell drf-spectacular about themselves, on sites that have it.

The only module that imports it. Without it the annotations say nothing: every name below takes any
arguments, and a decorator returns what it decorates unchanged. Which tool writes the schema is the
site's choice in any case: `DEFAULT_SCHEMA_CLASS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["OpenApiParameter", "OpenApiResponse", "extend_schema", "extend_schema_field"]

try:
    from drf_spectacular.utils import (
        OpenApiParameter,
        OpenApiResponse,
        extend_schema,
        extend_schema_field,
    )
except ImportError:
    if not TYPE_CHECKING:

        def _say_nothing(*_: Any, **__: Any) -> Any:
            return lambda decorated: decorated

        OpenApiParameter = OpenApiResponse = _say_nothing
        extend_schema = extend_schema_field = _say_nothing
