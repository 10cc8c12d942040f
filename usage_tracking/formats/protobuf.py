"""Turn protobuf messages into the JSON that the same provider's REST API sends.

https://protobuf.dev/programming-guides/json/ (the names and values; zeros are left out)
https://protobuf.dev/programming-guides/encoding/ (the bytes of a message)

Only the members that are asked for are read: an answer may have megabytes of text, vectors and
pictures. protobuf itself is not imported; the messages have all that is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Names of a message's members → what to read of each: all of it (None), that it is there ({}), or
#: some of its own members.
Wanted = Mapping[str, Any]

#: Items of one list that are read.
_ITEMS = 4096


def members(message: Any, wanted: Wanted | None, *, camel: bool = True) -> dict[str, Any]:
    """Return members of a message that are set, as JSON.

    Args:
        message: A message of protobuf or proto-plus; of anything else nothing is read.
        wanted: What to read; None for everything.
        camel: Whether names become camelCase, as in Google's JSON.
    """
    found: dict[str, Any] = {}
    message = plain(message)
    for field, value in message.ListFields() if hasattr(message, "ListFields") else ():
        if wanted is None:
            beneath = None
        elif field.name in wanted:
            beneath = wanted[field.name]
        else:
            continue
        found[field.json_name if camel else field.name] = _value(field, value, beneath, camel=camel)
    return found


def plain(message: Any) -> Any:
    """Return the protobuf message inside a message of proto-plus; any other as it is."""
    unwrap = getattr(type(message), "pb", None)
    return message if unwrap is None else unwrap(message)


def _value(field: Any, value: Any, wanted: Wanted | None, *, camel: bool) -> Any:
    if hasattr(value, "ListFields"):
        return _message(value, wanted, camel=camel)
    if isinstance(value, (str, bytes, bool, int, float)):
        return _scalar(field, value, wanted)
    if field.message_type is None and wanted is not None:
        return ""  # a vector
    return [_value(field, item, wanted, camel=camel) for item in value[:_ITEMS]]


def _message(value: Any, wanted: Wanted | None, *, camel: bool) -> Any:
    if value.DESCRIPTOR.full_name == "google.protobuf.Value":
        return _json_value(value, wanted)
    if wanted is None and value.DESCRIPTOR.name == "UsageMetadata":
        return _older_usage(value) | members(value, None)
    return members(value, wanted, camel=camel)


def _scalar(field: Any, value: Any, wanted: Wanted | None) -> Any:
    if wanted is not None or isinstance(value, bytes):
        return ""
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return value if named is None else named.name
    return value


def _json_value(value: Any, wanted: Wanted | None) -> Any:
    """Return a `google.protobuf.Value`, which is any JSON, as far as it is wanted."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {
            name: _json_value(item, None if wanted is None else wanted[name])
            for name, item in value.struct_value.fields.items()
            if wanted is None or name in wanted
        }
    if kind == "list_value":
        return [_json_value(item, wanted) for item in value.list_value.values[:_ITEMS]]
    if wanted is not None:
        return ""
    return None if kind in {None, "null_value"} else getattr(value, kind)


# The members of `UsageMetadata` by their numbers, from
# https://github.com/googleapis/googleapis/blob/master/google/ai/generativelanguage/v1beta/
# generative_service.proto. google-generativeai brings an older definition without the last four,
# and its messages keep what they do not know as bytes.
_USAGE = {
    5: "promptTokensDetails",
    6: "cacheTokensDetails",
    7: "candidatesTokensDetails",
    8: "toolUsePromptTokenCount",
    9: "toolUsePromptTokensDetails",
    10: "thoughtsTokenCount",
}


def _older_usage(usage: Any) -> dict[str, Any]:
    """Return the members that the definition of Gemini's usage does not know yet."""
    known = usage.DESCRIPTOR.fields_by_number
    is_gemini = usage.DESCRIPTOR.full_name.startswith("google.ai.generativelanguage.")
    if not is_gemini or all(number in known for number in _USAGE):
        return {}
    found: dict[str, Any] = {}
    for number, value in _fields(usage.SerializeToString()):
        name = _USAGE.get(number)
        if name is None or number in known:
            continue
        if isinstance(value, int):
            found[name] = value
        else:
            counted = dict(_fields(value))
            detail = {"modality": counted.get(1, 0), "tokenCount": counted.get(2, 0)}
            found.setdefault(name, []).append(detail)
    return found


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each member in the bytes of a message: an integer or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
        elif kind == 2:
            size, at = _varint(data, at)
            yield number, data[at : at + size]
            at += size
        else:
            at += {1: 8, 5: 4}[kind]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
