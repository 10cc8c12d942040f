"""Fields that accept only the types in the schema, from JSON and from query strings."""

from __future__ import annotations

import re
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from .. import conf
from .schema import extend_schema_field

NO_SUCH_SECTION = "Unknown section."
#: Texts without NUL, which REST framework and Django's forms reject.
NO_NUL = r"^[^\u0000]*$"


class WholeNumberField(serializers.IntegerField):
    """A whole number: a JSON number, or with `from_text` ASCII digits in a query string."""

    def __init__(self, *, from_text: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.from_text = from_text

    def to_internal_value(self, data: Any) -> int:
        """Reject texts in JSON, booleans and fractions."""
        if self.from_text:
            if not re.fullmatch(r"-?[0-9]{1,30}", str(data)):
                self.fail("invalid")
        elif isinstance(data, bool) or not isinstance(data, (int, float)) or data % 1 != 0:
            self.fail("invalid")
        return super().to_internal_value(data)


class TrueOrFalseField(serializers.BooleanField):
    """A JSON boolean."""

    def to_internal_value(self, data: Any) -> bool:
        """Reject texts and numbers that REST framework takes for booleans."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return bool(data)


class TextField(serializers.CharField):
    """A JSON string."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # REST framework rejects them anyway; this puts the pattern into the schema.
        self.validators.append(RegexValidator(NO_NUL, "Null characters are not allowed."))

    def to_internal_value(self, data: Any) -> str:
        """Reject numbers, which REST framework converts to text."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class SectionField(serializers.ChoiceField):
    """The code of one of AI_USAGE_SECTIONS, read when the field is created."""

    default_error_messages = {
        # Does not repeat the value: it may be any text of any length.
        "invalid_choice": NO_SUCH_SECTION,
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=list(conf.sections().items()), **kwargs)


@extend_schema_field(dict)
class ObjectField(serializers.JSONField):
    """A JSON object."""

    default_error_messages = {"not_an_object": "Must be an object."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Reject any other JSON value."""
        if not isinstance(data, dict):
            self.fail("not_an_object")
        return data


def cost_field(decimal_places: int = 8, **kwargs: Any) -> serializers.DecimalField:
    """Return a field for USD as a string, because a float is not exact."""
    return serializers.DecimalField(
        max_digits=None,
        decimal_places=decimal_places,
        coerce_to_string=True,
        read_only=True,
        **kwargs,
    )
