"""Fields that take what the schema says and nothing like it, from JSON and from query strings."""

from __future__ import annotations

import re
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from usage_tracking import conf

from .schema import extend_schema_field

NO_SUCH_SECTION = "There is no such section."
#: A pattern that says what REST framework and Django's forms refuse in texts.
NO_NUL = r"^[^\u0000]*$"


class WholeNumberField(serializers.IntegerField):
    """A whole number; in JSON not as text, in a query string as plain digits."""

    def __init__(self, *, from_text: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.from_text = from_text

    def to_internal_value(self, data: Any) -> int:
        if self.from_text:
            if not re.fullmatch(r"-?[0-9]{1,30}", str(data)):
                self.fail("invalid")
        elif isinstance(data, bool) or not isinstance(data, (int, float)) or data % 1 != 0:
            self.fail("invalid")
        return super().to_internal_value(data)


class TrueOrFalseField(serializers.BooleanField):
    """A JSON boolean."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return bool(data)


class TextField(serializers.CharField):
    """A JSON string."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # REST framework refuses them anyhow; this says so in the schema.
        self.validators.append(RegexValidator(NO_NUL, "Null characters are not allowed."))

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class SectionField(serializers.ChoiceField):
    """One of AI_USAGE_SECTIONS, as they are now."""

    default_error_messages = {
        # Without what was sent: it may be anything, of any length.
        "invalid_choice": NO_SUCH_SECTION,
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=list(conf.sections().items()), **kwargs)


@extend_schema_field(dict)
class ObjectField(serializers.JSONField):
    """A JSON object."""

    default_error_messages = {"not_an_object": "Must be an object."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_an_object")
        return data


def cost_field(decimal_places: int = 8, **kwargs: Any) -> serializers.DecimalField:
    """USD, as text: a float would not keep it."""
    return serializers.DecimalField(
        max_digits=None,
        decimal_places=decimal_places,
        coerce_to_string=True,
        read_only=True,
        **kwargs,
    )
