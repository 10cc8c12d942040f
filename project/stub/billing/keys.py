"""API keys that clients send: their ids, hints and projects, but never the keys."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from email.message import Message

#: Keys that may read bills. Any other key with the same beginning may too.
ADMIN_KEYS = {
    "openai": "sk-admin-stub-0000-0001",
    "anthropic": "sk-ant-admin01-stub-0000-0001",
    "openrouter": "sk-or-v1-management-stub-0001",
}
#: The project or workspace of keys that no test has registered.
DEFAULT_PROJECTS = {"openai": "proj_default"}

_HEADERS = ("x-api-key", "api-key", "x-goog-api-key")
_ID_STARTS = {"openai": "key_", "anthropic": "apikey_01"}
#: A hint must not be the better part of a key.
_SHORTEST_WITH_HINT = 12


@dataclass(frozen=True)
class ApiKey:
    """What a provider's listing says about a key."""

    provider: str
    id: str
    name: str
    hint: str
    project: str


NO_KEY = ApiKey("", "", "", "", "")


class KeyRing:
    """The keys that were registered, or that made a request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, ApiKey] = {}

    def register(self, provider: str, secret: str, *, name: str = "", project: str = "") -> ApiKey:
        """Name a key and its project, before it makes requests."""
        key_id = id_of(provider, secret)
        hint = secret[-4:] if len(secret) >= _SHORTEST_WITH_HINT else ""
        project = project or DEFAULT_PROJECTS.get(provider, "")
        key = ApiKey(provider, key_id, name or f"Key {hint or key_id[-4:]}", hint, project)
        with self._lock:
            self._keys[key_id] = key
        return key

    def sender(self, provider: str, headers: Message) -> ApiKey:
        """Return the key that made a request."""
        secret = secret_in(headers)
        if not secret:
            return NO_KEY
        with self._lock:
            found = self._keys.get(id_of(provider, secret))
        return found or self.register(provider, secret)

    def of(self, provider: str) -> list[ApiKey]:
        """Return the keys of a provider."""
        with self._lock:
            return [key for key in self._keys.values() if key.provider == provider]


def secret_in(headers: Message) -> str:
    """Return the API key of a request; "" if it has none."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return next((headers[name] for name in _HEADERS if headers.get(name)), "")


def id_of(provider: str, secret: str) -> str:
    """Return the id of a key, which is always the same; OpenRouter's is a hash of 64 digits."""
    digest = hashlib.sha256(f"{provider} {secret}".encode()).hexdigest()
    if provider == "openrouter":
        return digest
    return _ID_STARTS.get(provider, "key_") + digest[:20]
