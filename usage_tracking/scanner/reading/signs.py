"""Signs of AI in the text of a file: whether the file can hold a call to a model.

Reading a file in full costs far more than searching its text, and most files of a site have
nothing to do with AI. A file has a sign if its code, not only a comment or a docstring, has a word
such as `llm`, the name of a method or host that only AI has, or the usual name of a client
together with one of the client's methods. A file also has one if it imports an AI library, which
`parsing` asks of the imports. Words that other code has too are signs beside others, or if the code
uses them as code that asks a model does (`doubtful`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from ..catalog import Catalog
from ..inference.ai_names import is_ai, is_role
from . import doubtful
from .outlines import docstrings_of

#: Words in the names of variables, functions, settings and models in AI code.
_WORDS = {
    *("llm", "gpt", "chatgpt", "claude", "gemini", "embedding", "embedder", "openai", "anthropic"),
    *("ollama", "mistral", "bedrock", "genai", "vllm", "litellm", "deepseek", "groq"),
    *("reranker", "chat_model", "chatmodel"),
}
#: Files with these words may wrap `ai_usage` for the rest of the project.
_OUR_WORDS = {"usage_tracking", "ai_section"}
#: Last names of AI calls that much other code uses too.
_COMMON_NAMES = {
    *("acreate", "append", "compact", "complete", "connect", "convert", "create", "edit"),
    *("generate", "parse", "process", "restart", "run", "send", "start", "stream", "v"),
}
#: How many characters around a possible sign are looked at.
_CONTEXT = 200
_METHOD = re.compile(r"\.\w+\(")
_RECEIVER = re.compile(r"[\w.]+$")
#: Objects on which code of another file may have set a model.
_HOLDERS = {"app", "config", "container", "current_app", "g", "request", "state"}
#: What is near a call that invokes a command of a terminal.
_OF_COMMAND = re.compile(r"ctx|context|command|cmd|cli\b|super")
#: What is near a call with a common name if it is one of a model.
_PROMPT = re.compile(
    r"prompt|messages?\b|question|conversation|query|temperature|max_\w*tokens|top_[pk]\b|system"
    r"|\brole\b|\.content\b|tool_calls|_metadata|documents|passages|docs\b|texts"
)
_KEY = re.compile(r"(['\"])\w+\1")
#: What follows the key of a body: `"prompt": text`, `body["prompt"] = text`.
_IS_KEY = re.compile(r"\s*(?::|\]\s*=[^=])")
#: What follows a word that is none of AI: `gptr`, `embedder-policy`, `coherence`, a symbol by name.
_OTHER_MEANING = re.compile(r"r\b|[-_]polic|n(?:ce|t)\b|['\"]: ['\"][^\w -~]\ufe0f?['\"]")
_DEFINITION = re.compile(r"\bdef\s+$")
#: Shorter names of clients are too common to be a sign.
_SHORTEST_NAME = 6


@dataclass(frozen=True, slots=True)
class FoundSigns:
    """The signs in a file."""

    #: The numbers of the lines of code with a sign.
    lines: set[int]
    #: Whether `lines` are of AI. Else the code only builds what may be the body of a request.
    are_certain: bool
    #: Whether the file has any sign, also in comments.
    any: bool


class Signs:
    """The signs of AI that a catalog knows."""

    def __init__(self, catalog: Catalog) -> None:
        signs = {*_WORDS, *_OUR_WORDS, *catalog.marks, *catalog.paths}
        signs |= {_literal_part(host) for host in catalog.hosts}
        # `generate_content`, but `completions.create`.
        methods = {
            ".".join(parts[-2:] if parts[-1] in _COMMON_NAMES else parts[-1:])
            for parts in (path.split(".") for path in catalog.unmistakable)
            if len(parts) > 1 or parts[0] not in _COMMON_NAMES
        }
        #: Name of a client → the attributes of each of its calls.
        self._names: dict[str, set[tuple[str, ...]]] = {}
        for known in catalog.types.values():
            for name in known.names:
                is_told = any(word in name for word in _WORDS)
                if len(name) >= _SHORTEST_NAME and not is_told:
                    calls = self._names.setdefault(name, set())
                    calls |= {tuple(path.split(".")) for path in known.named_calls}
        lower = {sign.lower() for sign in (*signs, *self._names) if sign}
        words = {sign for sign in lower if sign[0].isalpha()}
        capitalised = {word.capitalize() for word in words} | {word.upper() for word in words}
        by_letter = groupby(sorted(capitalised), key=lambda word: word[0])
        # A sign begins a word, so `llm` is one in `LLMClient` and `myLLM`, not in `fullmatch`.
        # Each pattern begins with a set of characters, and a search skips all others.
        self._in_lower_case = (
            re.compile(f"[^a-z]({_any_of(words)})"),
            re.compile(f"[^a-z_]a?({_any_of(methods)})(?![a-z0-9_])"),
            re.compile(f"({_any_of(lower - words)})"),
        )
        in_camel_case = "|".join(
            f"{letter}(?<=[a-z0-9]{letter})(?:{_any_of(word[1:] for word in group)})"
            for letter, group in by_letter
        )
        # Also at the end of capitals: `HTTPLLM`.
        self._in_camel_case = re.compile(f"({in_camel_case}|L(?<=[A-Z]L)LM(?![A-Z]))")

    def find(self, text: str, tree: ast.Module, *, is_certain: bool = False) -> FoundSigns:
        """Return the signs in a file.

        Args:
            text: The code of the file.
            tree: The same code.
            is_certain: Whether the code is known to be about AI. Then doubtful signs count.
        """
        found = list(self._found(text))
        in_code = {
            (line, is_doubtful) for line, before, is_doubtful in found if not _is_comment(before)
        }
        if in_code:
            docstrings = docstrings_of(tree)
            in_code = {each for each in in_code if each[0] not in docstrings}
        lines = {line for line, _ in in_code}
        use = doubtful.Use.ASKS
        if not is_certain and all(is_doubtful for _, is_doubtful in in_code):
            use = doubtful.use_in(tree) if lines else doubtful.Use.OTHER
        if use is doubtful.Use.OTHER:
            lines.clear()
        return FoundSigns(lines, use is doubtful.Use.ASKS, any=bool(found))

    def _found(self, text: str) -> Iterator[tuple[int, str, bool]]:
        """Yield the line of each sign, what is before it there, and whether it is doubtful."""
        lower = "\n" + text.lower()
        searches = [(pattern, lower) for pattern in self._in_lower_case]
        for pattern, searched in (*searches, (self._in_camel_case, "\n" + text)):
            for match in pattern.finditer(searched):
                if self._counts(match, searched, text):
                    start = match.start(1)
                    before = searched[searched.rfind("\n", 0, start) + 1 : start]
                    is_doubtful = _is_doubtful(match[1].lower()) or bool(_DEFINITION.search(before))
                    yield searched.count("\n", 0, start), before, is_doubtful

    def _counts(self, match: re.Match[str], searched: str, text: str) -> bool:
        """Return whether what is around a possible sign confirms it."""
        sign, after = match[1], searched[match.end() :][:_CONTEXT]
        if sign[-1].isalnum() and _OTHER_MEANING.match(after):
            return False
        if calls := self._names.get(sign.lower()):
            return any(all(f".{part}" in text for part in call) for call in calls)
        if _METHOD.fullmatch(sign):
            before = searched[max(0, match.start() - _CONTEXT) : match.start()]
            return self._is_request(before, sign, after)
        if _KEY.fullmatch(sign):
            return sign in text and bool(_IS_KEY.match(after))
        if sign.isdigit():  # a port, not a part of another number
            return not (searched[match.start() - 1].isalnum() or after[:1].isalnum())
        return True

    def _is_request(self, before: str, sign: str, after: str) -> bool:
        """Return whether a method with a common name may be called to ask a model."""
        receiver = _RECEIVER.search(before)
        names = receiver[0].split(".") if receiver else []
        if names and (is_role(names[-1]) or is_ai(names[-1])):
            return True
        if "invoke" in sign:
            return not _OF_COMMAND.search(f"{names[-1:]} {after.partition(')')[0]}")
        return bool(_PROMPT.search(after)) or not _HOLDERS.isdisjoint(names[:-1])


def _is_doubtful(sign: str) -> bool:
    return sign.strip("'\"") in doubtful.KEYS or sign in doubtful.SETTINGS or sign in doubtful.WORDS


def _any_of(texts: Iterable[str]) -> str:
    """Return a pattern of any of `texts` that compares each common beginning once."""
    ordered = sorted(texts)
    if ordered[0] == "":
        return f"(?:{_any_of(ordered[1:])})?" if ordered[1:] else ""
    if len(ordered) == 1:
        return re.escape(ordered[0])
    groups = groupby(ordered, key=lambda text: text[0])
    return "|".join(
        f"{re.escape(first)}(?:{_any_of(text[1:] for text in group)})" for first, group in groups
    )


def _literal_part(host: str) -> str:
    """Return what all hosts have in common that fit a pattern."""
    parts = host.split("*")
    return next((part for part in parts if len(part) > len("api.")), max(parts, key=len))


def _is_comment(before: str) -> bool:
    """Return whether what follows `before` on its line is certainly in a comment."""
    code, hash_sign, _ = before.partition("#")
    return bool(hash_sign) and all(code.count(quote) % 2 == 0 for quote in "'\"")
