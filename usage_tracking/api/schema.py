"""The annotations of drf-spectacular, if it is installed.

No other module imports it. Without it, every name below accepts any arguments, and decorators
return their target unchanged. The site chooses the tool that writes its schema by
`DEFAULT_SCHEMA_CLASS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "OpenApiParameter",
    "OpenApiResponse",
    "PolymorphicProxySerializer",
    "extend_schema",
    "extend_schema_field",
]

try:
    from drf_spectacular.utils import (
        OpenApiParameter,
        OpenApiResponse,
        PolymorphicProxySerializer,
        extend_schema,
        extend_schema_field,
    )
except ImportError:
    if not TYPE_CHECKING:

        def _ignore(*_: Any, **__: Any) -> Any:
            return lambda decorated: decorated

        OpenApiParameter = OpenApiResponse = PolymorphicProxySerializer = _ignore
        extend_schema = extend_schema_field = _ignore
