"""The endpoint families in which providers bill, and which calls of the log belong to them."""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """A family of endpoints whose usage a provider reports together."""

    name: str
    #: The operations of the log that belong to it; the first family of a provider also has those
    #: that no family names.
    operations: frozenset[str] = frozenset()
    #: What the provider says about the family.
    has_requests: bool = True
    has_tokens: bool = True
    #: Whether the log has these calls: free ones, and the calls of tools within a call, it has not.
    is_recorded: bool = True


#: Operations that no family of a provider has: their cost alone is billed.
_WITHOUT: dict[str, frozenset[str]] = {"openai": frozenset({"video_generation"})}

#: Provider, as the log names it → its families.
FAMILIES: dict[str, tuple[Family, ...]] = {
    "openai": (
        Family("completions"),
        Family("embeddings", frozenset({"embeddings"})),
        Family("images", frozenset({"image_generation"}), has_tokens=False),
        Family("audio_speeches", frozenset({"speech"}), has_tokens=False),
        Family("audio_transcriptions", frozenset({"transcription"}), has_tokens=False),
        Family("decisions", frozenset({"decision"})),
        Family("moderations", is_recorded=False),
        Family("web_search_calls", has_tokens=False, is_recorded=False),
        Family("file_search_calls", has_tokens=False, is_recorded=False),
        Family(
            "code_interpreter_sessions", has_requests=False, has_tokens=False, is_recorded=False
        ),
    ),
    "anthropic": (Family("messages", has_requests=False),),
    "openrouter": (Family("activity"),),
    "aws": (Family("invocations"),),
}


def family_of(provider: str, operation: str) -> Family | None:
    """Return the family in which a provider bills an operation of the log.

    None is an operation of which the provider bills the cost alone, or an unknown provider.
    """
    families = FAMILIES.get(provider, ())
    if not families or operation in _WITHOUT.get(provider, ()):
        return None
    return next((each for each in families if operation in each.operations), families[0])


def family_named(provider: str, name: str) -> Family:
    """Return the family `name` of a provider; one that is not listed is compared like any other."""
    return next((each for each in FAMILIES.get(provider, ()) if each.name == name), Family(name))


def main_family(provider: str) -> str:
    """Return the name of the family that has most calls of a provider."""
    families = FAMILIES.get(provider)
    return families[0].name if families else ""
