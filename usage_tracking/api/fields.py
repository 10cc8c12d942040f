"""Fields that accept only the types in the schema, from JSON and from query strings."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from rest_framework import serializers

from .. import conf
from ..days import YEARS
from ..events import utc_now
from .schema import extend_schema_field

NO_SUCH_SECTION = "Unknown section."
UNKNOWN_USER = "Unknown user: give a primary key."
ONLY_OWN = (
    "You may see only your own calls. Those of others need the permission "
    "usage_tracking.view_aiusagelog."
)
#: Texts without NUL, which REST framework and Django's forms reject.
NO_NUL = r"^[^\u0000]*$"


#: A day or an instant. `+` in a query string is a space: no other space can be before an offset.
BOUND = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?([Zz]|[-+ ][0-9]{2}:[0-9]{2}))?$"
)
_FORM = (
    "Give a day, such as 2026-10-01, or a time with its offset, such as 2026-10-01T00:00:00Z or "
    "2026-10-01T00:00:00%2B02:00."
)
_COST = r"^[0-9]{1,6}([.][0-9]{1,10})?$"
_EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_CLOCK_SKEW = dt.timedelta(minutes=5)
_OUT_OF_RANGE = f"The year must be from {YEARS[0]} to {YEARS[-1]}."


def read_bound(text: str, form: str = _FORM) -> dt.date | dt.datetime:
    """Return the day, or the instant in UTC, that `text` names.

    Raises:
        ValueError: It is neither; the message is `form`, which says what to give. Or it is in a
            year that no database has to store.
    """
    if not (found := re.fullmatch(BOUND, text)):
        raise ValueError(form)
    try:
        if not found[1]:
            day: dt.date = dt.date.fromisoformat(text)
        else:
            # Python reads six digits of a second, and this needs no more.
            exact = re.sub(r"([.][0-9]{6})[0-9]+", r"\1", text.upper().replace(" ", "+"))
            day = dt.datetime.fromisoformat(exact)
    except ValueError:
        raise ValueError(form) from None
    if day.year not in YEARS:
        raise ValueError(_OUT_OF_RANGE)
    return day.astimezone(dt.UTC) if isinstance(day, dt.datetime) else day


def user_key(text: str) -> Any:
    """Return the primary key of a user that `text` names.

    Raises:
        ValidationError: It is not a primary key.
    """
    field: Any = get_user_model()._meta.pk
    try:
        # A key may be a text, and databases store neither NUL nor half a character.
        key = field.to_python(serializers.CharField(trim_whitespace=False).run_validation(text))
        field.run_validators(key)  # such as the range of numbers in the database
        if isinstance(key, int) and str(key) != text:  # Python reads `1_0` and Arabic digits
            raise ValueError(text)
    except (ValidationError, serializers.ValidationError, ValueError, OverflowError):
        raise serializers.ValidationError(UNKNOWN_USER, "unknown_user") from None
    return key


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


@extend_schema_field(
    {"oneOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}
)
class BoundField(serializers.CharField):
    """A day, or an instant with an offset from UTC."""

    def to_internal_value(self, data: Any) -> Any:
        """Return a date, or an aware datetime in UTC."""
        try:
            return read_bound(super().to_internal_value(data))
        except ValueError as error:
            raise serializers.ValidationError(str(error), "invalid") from None


@extend_schema_field({"type": "string", "format": "date"})
class DayField(serializers.CharField):
    """A day."""

    default_error_messages = {"form": "Give a day, such as 2026-10-01."}

    def to_internal_value(self, data: Any) -> Any:
        """Return a date."""
        form = str(self.error_messages["form"])
        try:
            day = read_bound(super().to_internal_value(data), form)
        except ValueError as error:
            raise serializers.ValidationError(str(error), "invalid") from None
        if isinstance(day, dt.datetime):
            self.fail("form")
        return day


@extend_schema_field({"type": "string", "format": "date-time"})
class MomentField(serializers.CharField):
    """When a call was made: an instant, not in the future."""

    default_error_messages = {
        "form": "Give a time with its offset, such as 2026-10-01T00:00:00+02:00.",
        "future": "Must not be more than 5 minutes in the future.",
        "past": "Must not be before the year 2000.",
    }

    def to_internal_value(self, data: Any) -> Any:
        """Return an aware datetime in UTC."""
        if not isinstance(data, str):
            self.fail("form")
        form = str(self.error_messages["form"])
        try:
            moment = read_bound(super().to_internal_value(data), form)
        except ValueError as error:
            raise serializers.ValidationError(str(error), "invalid") from None
        if not isinstance(moment, dt.datetime):
            self.fail("form")
        if moment > utc_now() + _CLOCK_SKEW:
            self.fail("future")
        if moment < _EARLIEST:
            self.fail("past")
        return moment


@extend_schema_field(
    {
        "oneOf": [{"type": "string", "pattern": _COST}, {"type": "number", "minimum": 0}],
        "description": "USD, best as a string: a float is not exact.",
    }
)
class CostField(serializers.DecimalField):
    """USD, as a JSON string or number."""

    default_error_messages = {
        "not_a_cost": 'Give USD from 0 to 999999.9999999999, with at most 10 decimals: "0.42".'
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=16, decimal_places=10, min_value=Decimal(0), **kwargs)

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        """Reject an empty text, which REST framework takes for null: null asks for our price."""
        if isinstance(data, str):
            return False, data
        return super().validate_empty_values(data)

    def to_internal_value(self, data: Any) -> Decimal:
        """Return the cost; reject booleans and texts such as `1e3`."""
        is_number = isinstance(data, int | float) and not isinstance(data, bool)
        if not is_number and not (isinstance(data, str) and re.fullmatch(_COST, data)):
            self.fail("not_a_cost")
        try:
            return super().to_internal_value(data)
        except serializers.ValidationError:  # too many digits
            self.fail("not_a_cost")


@extend_schema_field(
    {
        "oneOf": [{"type": "integer"}, {"type": "string", "minLength": 1, "maxLength": 255}],
        "nullable": True,
    }
)
class UserField(serializers.Field):  # type: ignore[type-arg]  # as in `views`
    """The primary key of a user."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the key; whether the user exists is checked for all calls at once."""
        if isinstance(data, bool) or not isinstance(data, int | str):
            raise serializers.ValidationError(UNKNOWN_USER, "unknown_user")
        return user_key(str(data))

    def to_representation(self, value: Any) -> Any:
        """Return the key."""
        return value


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
