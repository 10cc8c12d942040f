"""Signs of AI in the text of a file: whether the file can hold a call to a model.

Reading a file in full costs far more than searching its text, and most files of a site have
nothing to do with AI. A file has a sign if its code, not only a comment or a docstring, has a word
such as `llm`, the name of a method or host that only AI has, or the usual name of a client
together with one of the client's methods. A file also has one if it imports an AI library, which
`parsing` asks of the imports.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from ..catalog import Catalog
from .outlines import docstrings_of

#: Words in the names of variables, functions, settings and models in AI code.
_WORDS = {
    *("llm", "gpt", "chatgpt", "claude", "gemini", "embedding", "embedder", "openai", "anthropic"),
    *("ollama", "mistral", "bedrock", "genai", "vllm", "litellm", "deepseek", "groq"),
    *("reranker", "chat_model"),
}
#: Files with these words may wrap `ai_usage` for the rest of the project.
_OUR_WORDS = {"usage_tracking", "ai_section"}
#: Last names of AI calls that much other code uses too.
_COMMON_NAMES = {
    *("acreate", "append", "compact", "complete", "connect", "convert", "create", "edit"),
    *("generate", "parse", "process", "restart", "run", "send", "start", "stream", "v"),
}
_QUOTES = "'\""
#: Shorter names of clients are too common to be a sign.
_SHORTEST_NAME = 6


class Signs:
    """The signs of AI that a catalog knows."""

    def __init__(self, catalog: Catalog) -> None:
        signs = {*_WORDS, *_OUR_WORDS, *catalog.marks, *catalog.paths}
        signs |= {_literal_part(host) for host in catalog.hosts}
        methods = {path.rpartition(".")[2] for path in catalog.unmistakable} - _COMMON_NAMES
        #: Name of a client → the attributes of each of its calls.
        self._names: dict[str, set[tuple[str, ...]]] = {}
        for known in catalog.types.values():
            for name in known.names:
                if len(name) >= _SHORTEST_NAME and name not in signs:
                    calls = self._names.setdefault(name, set())
                    calls |= {tuple(path.split(".")) for path in known.named_calls}
        lower = {sign.lower() for sign in (*signs, *self._names)}
        words = {sign for sign in lower if sign[0].isalpha()}
        capitalised = {word.capitalize() for word in words} | {word.upper() for word in words}
        by_letter = groupby(sorted(capitalised), key=lambda word: word[0])
        # A sign begins a word, so `llm` is one in `LLMClient` and `myLLM`, not in `fullmatch`.
        # Each pattern begins with a set of characters, and a search skips all others.
        self._in_lower_case = (
            re.compile(f"[^a-z]({_any_of(words)})"),
            re.compile(f"[^a-z]a?({_any_of(methods)})(?![a-z0-9_])"),
            re.compile(f"({_any_of(lower - words)})"),
        )
        in_camel_case = "|".join(
            f"{letter}(?<=[a-z0-9]{letter})(?:{_any_of(word[1:] for word in group)})"
            for letter, group in by_letter
        )
        self._in_camel_case = re.compile(f"({in_camel_case})")

    def lines_in_code(self, text: str, tree: ast.Module) -> set[int]:
        """Return the numbers of the lines of code with a sign; `tree` is the code of `text`."""
        found = {line for line, before in self._found(text) if not _is_comment(before)}
        return found - docstrings_of(tree) if found else found

    def _found(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield (number of the line, what is before it on the line) of each sign."""
        lower = "\n" + text.lower()
        searches = [(pattern, lower) for pattern in self._in_lower_case]
        for pattern, searched in (*searches, (self._in_camel_case, "\n" + text)):
            for match in pattern.finditer(searched):
                start, sign = match.start(1), match[1]
                calls = self._names.get(sign.lower(), ())
                is_client = any(all(f".{part}" in text for part in call) for call in calls)
                # `"PROMPT"` is no key of a body.
                is_key = sign[0] not in _QUOTES or sign in text
                if is_key and (is_client or not calls):
                    before = searched[searched.rfind("\n", 0, start) + 1 : start]
                    yield searched.count("\n", 0, start), before


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
    return next(part for part in host.split("*") if len(part) > len("api."))


def _is_comment(before: str) -> bool:
    """Return whether what follows `before` on its line is certainly in a comment."""
    code, hash_sign, _ = before.partition("#")
    return bool(hash_sign) and not any(quote in code for quote in _QUOTES)
