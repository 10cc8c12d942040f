"""Which API key made a call: its last four characters, for AI_USAGE_KEY_HINT.

Providers list their keys by such an ending. Nothing else of a key is returned or kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from .. import conf
from ..errors import contained

#: The name of the fact in the metadata of a row.
KEY_HINT = "key_hint"
_LENGTH = 4

#: Headers that hold nothing but the key, in lower case: of Anthropic, Azure, Google, ElevenLabs.
_PLAIN = ("x-api-key", "api-key", "x-goog-api-key", "xi-api-key")
#: Headers that hold the key among other things.
_AROUND = {
    # Replicate and Deepgram say `Token`, fal `Key`, Baseten and Yandex `Api-Key`.
    "authorization": re.compile(r"^\s*(?:bearer|token|key|api-key)\s+(\S+)\s*$", re.IGNORECASE),
    # A page in a browser can set no other header of a websocket:
    # https://developers.openai.com/api/docs/guides/realtime-websocket
    "sec-websocket-protocol": re.compile(r"(?:^|,)\s*openai-insecure-api-key\.([^\s,]+)"),
}
#: Of a shorter key, four characters would reveal too much.
_KEY = re.compile(r"[A-Za-z0-9._~+/=:|-]{12,}")
#: Beginnings of what no provider lists: JWTs, OAuth tokens of Google, Anthropic and GitHub, and
#: the keys of one session of OpenAI and Google.
_TOKENS = ("eyJ", "ya29.", "1//", "sk-ant-oat", "gho_", "ghu_", "ghs_", "ek_", "auth_tokens/")
_PLACEHOLDER = re.compile(r"redacted|\.\.\.", re.IGNORECASE)
#: What stands in for a key has fewer different characters: "xxxxxxxxxxxx".
_FEWEST = 4

#: Returns the value of a header by its name in lower case, as text or bytes; None without it.
Lookup = Callable[[str], Any]


def hint_in(header: Lookup) -> str:
    """Return the hint at the key in the headers of a request.

    It is "" without AI_USAGE_KEY_HINT, and without a key that a provider would list.

    Args:
        header: Looks up a header. It is called only with the setting, and may raise.
    """
    return (_hint_in(header) or "") if conf.key_hint() else ""


@contained
def _hint_in(header: Lookup) -> str:
    return next(filter(None, map(hint_of, _keys(header))), "")


def _keys(header: Lookup) -> Iterator[str]:
    """Yield what may be the key, beginning with what cannot be anything else."""
    for name in _PLAIN:
        yield _text(header(name)).strip()
    for name, pattern in _AROUND.items():
        if (match := pattern.search(_text(header(name)))) is not None:
            yield match[1]


def hint_of(key: str) -> str:
    """Return the last four characters of an API key, "" for what no provider would list."""
    if _KEY.fullmatch(key) is None or key.startswith(_TOKENS):
        return ""
    if len(set(key)) < _FEWEST or _PLACEHOLDER.search(key) is not None:
        return ""
    return key[-_LENGTH:]


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
