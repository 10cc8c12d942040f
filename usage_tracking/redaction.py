"""Remove secrets from text and metadata before they are stored anywhere.

Everything here takes linear time on any input: text is cut before a pattern reads it, and only the
end of a pattern may match any length. See SECURITY.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from math import isfinite
from typing import Any
from uuid import UUID

REDACTED = "[redacted]"
TRUNCATED = "[truncated]"
MAX_ERROR = 500
MAX_METADATA = 4096
MAX_DEPTH = 6
MAX_KEY = 100
#: Characters of a model, an id or another name from a provider or a request. Gateways encode
#: several ids in one, which takes some hundreds.
MAX_NAME = 1000

#: Characters of an error, and of all strings of a mapping together, that the patterns read.
_READ_ERROR = 8 * MAX_ERROR
_READ_METADATA = 4 * MAX_METADATA
#: Where a text is cut, a word shorter than this is dropped entirely: half a secret is not
#: recognised.
_WORD = 512

# Where a secret may begin: not inside a word, but after an escaped character.
_START = (
    r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\x[0-9A-Fa-f]{2})"
    r"|(?<=%[0-9A-Fa-f]{2}))"
)
_NAME_START = (
    r"(?:(?<![A-Za-z])|(?<=\\[nrt])|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\x[0-9A-Fa-f]{2})"
    r"|(?<=%[0-9A-Fa-f]{2})|(?<=[a-z0-9])(?=[A-Z]))"
)
# A run of 16 with a capital or a digit in it, unlike any word or name of a model.
_RUN = r"(?=[a-z]{0,15}[A-Z0-9])[A-Za-z0-9]{16}"
# The same for bodies that have hyphens.
_MIXED = r"(?=[A-Za-z0-9_\-]{20})(?=[a-z0-9_\-]{0,40}[A-Z])(?=[A-Za-z_\-]{0,40}[0-9])"
_MASK = r"[A-Za-z0-9_\-]{0,60}(?:\*|\.\.\.|…)"
_REST = r"[A-Za-z0-9_\-*.…]*+"
_BASE64 = r"[A-Za-z0-9_\-+/=*.]*+"

# https://github.com/gitleaks/gitleaks/blob/master/config/gitleaks.toml and
# https://github.com/trufflesecurity/trufflehog/tree/main/pkg/detectors collect such formats; for
# Cloudflare see https://developers.cloudflare.com/fundamentals/api/get-started/token-formats
_PREFIXES = "|".join(
    (
        *("sk[-_]", "pk[-_]", "rk[-_]", "sess-"),  # OpenAI, Anthropic and most others
        *("gsk_", "xai-", "pplx-", "r8_", "hf_", "api_org_", "nvapi-", "csk-", "fw_", "tgp_"),
        *("jina_", "cfk_", "cfut_", "cfat_", "dapi", "tvly-", "rpa_", "pcsk_", "fc-", "sgai-"),
        *("lsv2_", "wandb_v1_", "vck_", "cpk_", "flp_", "rqsty-", "e2b_", "avian-", "msy_"),
        *("gh[oprsu]_", "github_pat_", "gl[a-z]{2,6}-", "xox[a-z][-_]", "xapp-", "whsec_"),
        *("dop_v1_", "doo_v1_", "npm_", "pypi-", "dckr_pat_", "lin_api_", "ntn_", "secret_"),
        *("shp[a-z]{2}_", "sbp_", "sb_secret_", "glsa_", "glc_", r"hv[sbr]\.", "PMAK-", "ATATT3"),
        *("sntry[su]_", "figd_", "rnd_", "phc_", "phx_", "ops_", r"dp\.[a-z]{2}\.", "pscale_"),
        *("GOCSPX-", "LTAI", "AKID", "AKLT", "AGE-SECRET-KEY-"),
    )
)
# Voyage, Modal, Cohere, Fireworks and others, whose prefix may also begin a word.
_SHORT_PREFIXES = "pa-|ak-|as-|wk-|ws-|co[-_]|fw-|up[-_]|rc[-_]|app-|key[-_]|pat[-_]|hf-|r8-|gsk-"

_NAMES = (
    r"(?:api[-_ ]?key|key|(?:access|auth|refresh|id|csrf|xsrf)?token|client[-_]?secret|secret"
    r"|password|passwd|passphrase|passcode|pwd|session(?:id|[-_]?key)|signature|sig|hmac"
    r"|credentials?|jwt)"
)
_SCHEMES = (
    r"(?:Bearer|Basic|Token|Api[-_]?Key|Key|Bot|Negotiate|NTLM|SSWS|OAuth2?|Splunk|GoogleLogin"
    r"|DeepL-Auth-Key|GenieKey|PRIVATE-TOKEN)"
)
_QUOTE = r"\\{0,4}[\"']"
# Between a name and its value: `=`, `:`, `=>`, `>` or their escapes, or the comma of a pair.
_BETWEEN = (
    rf"(?:(?:{_QUOTE}\]?)?\s{{0,9}}(?:=>|==?|::?|%3[ADad]|>)\s{{0,9}}(?:[\[(](?!redacted\])\s{{0,9}})?"
    rf"|{_QUOTE}\s{{0,9}},\s{{0,9}}(?=b?{_QUOTE}))"
)

# Shapes of keys as the providers issue them, then the places where secrets occur. A match keeps its
# group `context_…`.
_SHAPES: dict[str, str] = {
    "key": (
        rf"(?:{_PREFIXES})(?:(?:[A-Za-z0-9]{{1,16}}[-_]){{0,3}}{_RUN}|{_MIXED}|{_MASK}){_REST}"
        rf"|(?:{_SHORT_PREFIXES})(?:{_RUN}|{_MIXED}|{_MASK}){_REST}"
        rf"|sk[-_](?:[A-Za-z0-9]{{1,16}}[-_]){{0,3}}[A-Za-z0-9]{{16}}{_REST}"
        rf"|sk[-_](?=[A-Za-z0-9_\-.]{{8}})(?=[A-Za-z_\-]{{0,60}}[0-9]){_REST}"
    ),
    "google": (
        r"AIza[A-Za-z0-9_\-*]{10,}+|ya29\.[A-Za-z0-9_\-.]++|AQ\.[A-Za-z0-9_\-]{20,}+"
        r"|1//0[A-Za-z0-9_\-]{20,}+"
    ),
    "aws": (
        r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}+"
        rf"|(?:ABSK|bedrock-api-key-)[A-Za-z0-9+/]{{16}}{_BASE64}"
        # A secret access key is recognised by its length alone.
        r"|(?<![+/])(?=[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/=._\-]))(?=[A-Za-z0-9+/]{0,32}"
        r"(?=[A-Z0-9]{0,7}[a-z])(?=[a-z0-9]{0,7}[A-Z])(?=[A-Za-z]{0,7}[0-9])[A-Za-z0-9]{8})"
        r"[A-Za-z0-9+/]{40}"
    ),
    "azure": r"[A-Za-z0-9_~.\-]{3}[0-9]Q~[A-Za-z0-9_~.\-]{31,}+",
    "meta": r"LLM\|[0-9]{6,20}\|[A-Za-z0-9_\-]{16,}+",
    "zhipu": r"[0-9a-f]{32}\.[A-Za-z0-9]{16}(?![A-Za-z0-9])",
    "baseten": (
        r"(?=[a-z]{0,7}[A-Z0-9])[A-Za-z0-9]{8}\.(?=[a-z0-9]{0,31}[A-Z])[A-Za-z0-9]{32}"
        r"(?![A-Za-z0-9])"
    ),
    "fal": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9a-f]{32,}+",
    "baidu": r"bce-v3/[A-Za-z0-9\-]{10,60}/[0-9a-f]{20,}+",
    "twilio": r"SK[0-9a-f]{32}(?![0-9A-Za-z])",
    "telegram": r"[0-9]{8,10}:[A-Za-z0-9_\-]{35,}+",
    "sendgrid": r"SG\.[A-Za-z0-9_\-]{16,40}\.[A-Za-z0-9_\-]{16,}+",
    "discord": r"[MNO][A-Za-z0-9_\-]{23,27}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,}+",
    "jwt": r"eyJ[A-Za-z0-9_\-]{16,}+(?:\.[A-Za-z0-9_\-.]*+)?+",
    # Mistral, Cohere, Azure and others issue random strings without a prefix.
    "random": (
        r"(?<![A-Za-z0-9_\-./+])(?:(?=[A-Za-z0-9]{32})(?=[A-Z0-9]{0,31}[a-z])"
        r"(?=[a-z0-9]{0,31}[A-Z])(?=[A-Za-z]{0,31}[0-9])"
        # The same with hyphens: IBM, Cloudflare.
        r"|(?![a-z]{3,12}[-_])(?=[A-Za-z0-9_\-]{40})(?=[A-Za-z0-9_\-]{0,30}"
        r"(?=[A-Z0-9]{0,9}[a-z])(?=[a-z0-9]{0,9}[A-Z])(?=[A-Za-z]{0,9}[0-9])[A-Za-z0-9]{10}))"
        r"[A-Za-z0-9_\-+/=]++"
    ),
}
#: Secrets after a name; they share the start of the name.
_NAMED: dict[str, str] = {
    "scheme": (
        r"(?P<context_scheme>(?i:Bearer|Basic|Api[-_]?Key)\s{1,9})"
        r"(?![A-Za-z][a-z\-]{0,40}(?![A-Za-z0-9_\-.~+/=*]))[A-Za-z0-9_\-.~+/=*]{6,}+"
        # "token" is also a common word in errors.
        r"|(?P<context_token>(?i:Token)\s{1,9})(?=[A-Za-z_\-]{0,60}[0-9])"
        r"(?=[A-Za-z0-9_\-.~+/=]{20})[A-Za-z0-9_\-.~+/=]++"
    ),
    "cookie": (
        rf"(?P<context_cookie>(?i:cookies?){_BETWEEN}(?:b?{_QUOTE})?)"
        r"(?P<pairs>[^\r\n\"'\\{}\[\]]{4,}+)"
    ),
    "authorization": (
        rf"(?P<context_line>(?i:authorization{_BETWEEN}(?:b?{_QUOTE})?"
        r"(?:Digest|AWS4[A-Z0-9\-]{0,20}|Hawk|OAuth|Signature|HMAC[A-Z0-9\-]{0,20}))\s{1,9})"
        r"[^\r\n\\]{4,}+"
        rf"|(?P<context_header>(?i:authorization{_BETWEEN}(?:b?{_QUOTE})?"
        rf"(?:{_SCHEMES}\s{{1,9}}|[a-z][a-z0-9_\-]{{0,30}}\s{{1,9}}"
        r"(?=[^\s\"',;]{16}|\[redacted\]))?))[^\s\"'&,;}\\]{4,}+"
    ),
    "named": (
        rf"(?P<context_named>(?i:{_NAMES}(?:\s{{1,9}}provided:\s{{0,9}}|{_BETWEEN})"
        rf"(?:b?\\{{0,4}}(?:(?P<double>\")|(?P<single>')))?(?:{_SCHEMES}\s{{1,9}})?))"
        r"(?(double)[^\"\\\r\n]{4,}+|(?(single)[^'\\\r\n]{4,}+|[^\s\"'&,;}\\]{4,}+))"
    ),
}
_PLACES: dict[str, str] = {
    "pem": (
        r"(?i:-----BEGIN\ [A-Z ]{0,40}PRIVATE\ KEY-----)(?:[^-]|-(?!----END\ ))*+"
        r"(?i:-----END\ [A-Z ]{0,40}PRIVATE\ KEY-----)?+"
    ),
    "userinfo": (
        r"(?P<context_userinfo>://)(?:[^/\s:@]{0,200}+:[^/\s@]{1,2000}+|[^/\s:@]{20,200}+)(?=@)"
    ),
}

#: Each shape and place by itself, for `benchmarks.hostile`.
PATTERNS: dict[str, str] = {
    **{name: f"{_START}(?:{shape})" for name, shape in _SHAPES.items()},
    **{name: f"{_NAME_START}(?:{place})" for name, place in _NAMED.items()},
    **_PLACES,
}
# One expression for all of them, so that a text is read once.
_SECRETS = re.compile(
    f"{_START}(?:{'|'.join(_SHAPES.values())})"
    f"|{_NAME_START}(?=[abchijkprstxABCHIJKPRSTX])(?:{'|'.join(_NAMED.values())})"
    f"|{'|'.join(_PLACES.values())}"
)
_PAIR_VALUE = re.compile(r"=[^;\s]++")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
#: A name with one of these words names a secret, unless it ends in a word of `_ABOUT`.
_SECRET_WORDS = _words(
    "secret secrets password passwords passwd passphrase passcode pwd authorization cookie cookies"
    " credential credentials creds jwt apikey apikeys"
)
_ABOUT = _words(
    "id ids name count type kind source status length size present set used valid version alias"
    " hint label index env prefix expires expiry at created updated rotation policy manager error"
    " errors required missing"
)
#: A name that ends in one of these words names a secret.
_SECRET_ENDS = _words(
    "bearer signature signatures sig hmac sessionid auth dsn otp accesskey secretkey privatekey"
    " openaikey"
)
_TOKENS = _words("access api auth bearer csrf id jwt oauth refresh session xsrf")
#: `..._key` names a secret if one of these words stands before `key`: a purpose or a provider.
_KEYS_OF = _words(
    "access account admin aes app auth bearer bot client deploy encryption encrypt hmac license"
    " live llm ai master my our own personal private prod production provider root rsa secret"
    " security server service session shared signing ssh ssl staging subscription test tls"
    " user webhook"
    " openai anthropic claude google gemini vertex mistral codestral groq openrouter deepseek xai"
    " grok perplexity pplx together fireworks cerebras cohere moonshot moonshotai kimi voyage"
    " voyageai jina writer replicate novita huggingface hf arcee avian baseten cloudflare"
    " doubleword github copilot meta llama minimax quicksilver quicksilverpro typesafe zai zhipu"
    " zhipuai glm ovh ovhcloud azure watsonx ibm databricks modal aws bedrock ollama nvidia"
    " stability elevenlabs deepgram assemblyai fal runpod pinecone dashscope qwen hunyuan gigachat"
    " nlpcloud langsmith langfuse litellm stripe sendgrid twilio slack"
)
#: `..._key` with one of these words does not name a secret. With any other word, the value decides.
_HARMLESS_KEYS = _words(
    "cache primary foreign sort partition idempotency public lookup group object dedup route"
    " routing issue project row dict json"
)
_OPAQUE = re.compile(
    r"(?=[A-Za-z_\-]{0,40}[0-9])(?=[0-9_\-]{0,40}[A-Za-z])[A-Za-z0-9_\-+/=.]{20,}+\Z"
)


def clean_text(value: object, limit: int) -> str:
    """Return `value` as text that every database stores.

    It has no NUL, no lone surrogate and at most `limit` characters.
    """
    text = value if isinstance(value, str) else str(value)
    is_cut = len(text) > limit
    if is_cut:
        text = text[: limit - 1]
    if not text.isascii() or "\0" in text:
        text = text.replace("\0", "�").encode("utf-8", "replace").decode()
    return text + "…" if is_cut else text


def clean_name(value: object) -> str:
    """Return `value` as a name, such as a model or an id: at most `MAX_NAME` characters.

    Two longer names with the same beginning become the same name.
    """
    return clean_text(value, MAX_NAME)


def redact(text: str) -> str:
    """Return `text` without API keys, bearer tokens, passwords and signatures."""
    return text if len(text) < _SHORTEST else _SECRETS.sub(_keep_context, text)


#: Characters of the shortest text that a pattern finds a secret in: `://a:b@`.
_SHORTEST = 7


def _keep_context(match: re.Match[str]) -> str:
    if (pairs := match["pairs"]) is not None and "=" in pairs:
        return match["context_cookie"] + _PAIR_VALUE.sub("=" + REDACTED, pairs)
    for name in _CONTEXTS:
        if (context := match[name]) is not None:
            return context + REDACTED
    return REDACTED


_CONTEXTS = tuple(name for name in _SECRETS.groupindex if name.startswith("context_"))


def clean_error(value: object) -> str:
    """Return an error text fit for a row or a log line: redacted, then cut to 500 characters."""
    return clean_text(redact(_readable(value, _READ_ERROR)), MAX_ERROR)


def _readable(value: object, limit: int) -> str:
    """Return the beginning of `value` that the patterns read, without an incomplete word."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > limit:
        text = text[:limit]
        end = max(text.rfind(space, limit - _WORD) for space in " \n\t")
        text = text[: end if end >= 0 else limit - 1] + "…"
    return clean_text(text, limit)


def clean_metadata(value: object) -> dict[str, Any]:
    """Return `value` as a JSON object: redacted, finite, and at most 4 KB.

    A value that is not JSON becomes `"<TypeName>"`, because its `repr` might hold anything. An
    object that is too large keeps the entries that fit and gets `"truncated": true`.
    """
    if not value:
        return {}
    if not isinstance(value, Mapping):
        return {"invalid": f"<{type(value).__name__}>"}
    room = _Room()
    cleaned = _clean_mapping(value, MAX_DEPTH, room)
    if not room.is_used_up and len(json.dumps(cleaned)) <= MAX_METADATA:
        return cleaned
    fitting: dict[str, Any] = {"truncated": True}
    left = MAX_METADATA - len(json.dumps(fitting))
    for name, item in cleaned.items():
        left -= len(json.dumps({name: item}))
        if left < 0:
            break
        fitting[name] = item
    return fitting


class _Room:
    """The items and characters of one mapping that may still be read, so that cycles end."""

    def __init__(self) -> None:
        self._items = MAX_METADATA
        self._characters = _READ_METADATA
        self.is_used_up = False

    def __iter__(self) -> Iterator[None]:
        """Yield once for each item that there is room for."""
        while self._items > 0 and self._characters > 0:
            self._items -= 1
            yield
        self.is_used_up = True

    def text(self, value: str, limit: int) -> str:
        """Return the part of `value` that may be read, redacted."""
        length = min(len(value), limit)
        if length > self._characters:
            self._characters, self.is_used_up = 0, True
            return TRUNCATED
        self._characters -= length
        return redact(_readable(value, limit))


def _clean_mapping(value: Mapping[Any, Any], depth: int, room: _Room) -> dict[str, Any]:
    cleaned: dict[str, Any] = {}
    header = ""
    for _, (key, item) in zip(room, value.items()):  # noqa: B905 -- ends with the room
        name = room.text(key if isinstance(key, str) else clean_text(key, MAX_KEY), MAX_KEY)
        is_secret = _is_secret(name, item) or (
            name in _VALUES and header and _is_secret(header, item)
        )
        if name in _HEADS and isinstance(item, str):
            header = item[:MAX_KEY]  # {"name": "x-api-key", "value": …}
        cleaned[name] = REDACTED if is_secret else _clean_value(item, depth, room)
    return cleaned


_HEADS, _VALUES = frozenset({"name", "key", "header", "field"}), frozenset({"value", "val"})


def _is_secret(name: str, value: object) -> bool:
    """Whether `value` is a secret, given its name."""
    is_secret, is_unsure = _names_secret(name[:MAX_KEY])
    return is_secret or (is_unsure and isinstance(value, str) and _OPAQUE.match(value) is not None)


@lru_cache(maxsize=512)  # the names of a site's metadata are few
def _names_secret(name: str) -> tuple[bool, bool]:
    """Whether `name` names a secret, and whether only the look of the value can tell."""
    words = [word.lower() for word in _WORDS.findall(name)]
    while words and (words[-1].isdigit() or (len(words) > 1 and words[-1] in _VARIANTS)):
        words.pop()
    if not words:
        return False, False
    *before, last = words
    owner = before[-1] if before else ""
    if last in {"key", "keys"} and owner:
        return owner in _KEYS_OF or "api" in before, owner not in _HARMLESS_KEYS
    is_secret = (
        last in _SECRET_ENDS
        or last.endswith(("token", "apikey", "password", "secret"))
        or (last == "tokens" and owner in _TOKENS)
    )
    if not is_secret and last not in _ABOUT:
        is_secret = not _SECRET_WORDS.isdisjoint(words) or ("api", "key") in pairwise(words)
    return is_secret, False


#: Words at the end of a name that do not change its meaning.
_VARIANTS = _words(
    "value header raw hash prod production dev test staging live old new current default backup"
)


def _clean_value(value: object, depth: int, room: _Room) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return room.text(value, MAX_METADATA)
    if isinstance(value, int):
        # JSON readers disagree about numbers beyond 64 bits; text keeps every digit.
        return int(value) if abs(value) < 2**63 else clean_text(_digits(value), 50)
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        if depth <= 0:
            return TRUNCATED
        if isinstance(value, Mapping):
            return _clean_mapping(value, depth - 1, room)
        return _clean_items(value, depth, room)
    return f"<{type(value).__name__}>"


def _clean_items(
    value: list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any], depth: int, room: _Room
) -> list[Any]:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        name, item = value
        if isinstance(name, (str, bytes)) and _is_secret(_name_of(name), item):
            return [_clean_value(name, depth - 1, room), REDACTED]  # a header
    return [_clean_value(item, depth - 1, room) for _, item in zip(room, value)]  # noqa: B905


def _name_of(name: str | bytes) -> str:
    name = name[:MAX_KEY]
    return name.decode("latin-1") if isinstance(name, bytes) else name


def _digits(value: int) -> str:
    return str(value) if value.bit_length() < 1000 else f"<{value.bit_length()}-bit integer>"
