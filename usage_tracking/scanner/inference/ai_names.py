"""Names that say AI: of variables, functions, classes, packages and settings."""

from __future__ import annotations

import re
from itertools import pairwise

#: Words that stand for a model or its provider.
_MODELS = {
    *("llm", "llms", "gpt", "chatgpt", "openai", "anthropic", "claude", "gemini", "mistral"),
    *("ollama", "bedrock", "cohere", "genai", "vllm", "litellm", "copilot", "deepseek", "groq"),
    *("embedder", "embedders", "embedding", "embeddings", "reranker", "rerankers", "ai"),
}
#: Pairs of words that do.
_PAIRS = {
    *(("chat", "model"), ("chat", "client"), ("language", "model"), ("text", "generation")),
    *(("chat", "completion"), ("completion", "client"), ("completion", "provider")),
    *(("document", "compressor"), ("chat", "provider"), ("chat", "backend"), ("model", "provider")),
}
#: Words for what may be a model, or anything else.
_ROLES = {
    *("model", "models", "client", "clients", "provider", "providers", "backend", "backends"),
    *("service", "chat", "engine", "assistant", "completer", "generator", "gateway", "connector"),
    *("adapter", "driver", "inference", "bot", "compressor", "ranker", "judge", "writer"),
}
#: Words for what a model is given.
_PROMPTS = {"prompt", "prompts", "question", "questions", "messages", "conversation"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words(name: str) -> list[str]:
    """Return the words of a name: `get_LLMClient` has get, llm and client."""
    return [word.lower() for word in _WORD.findall(name)]


def is_ai(name: str) -> bool:
    """Return whether a name stands for a model: `llm_service`, `corp_llm.get_model`."""
    found = words(name)
    return any(word in _MODELS for word in found) or any(pair in _PAIRS for pair in pairwise(found))


def is_role(name: str) -> bool:
    """Return whether a name stands for what may be a model: `provider`, `chat_backend`."""
    found = words(name)
    return bool(found) and found[-1] in _ROLES


def is_prompt(name: str) -> bool:
    """Return whether a name stands for what a model is given: `system_prompt`, `questions`."""
    found = words(name)
    return bool(found) and found[-1] in _PROMPTS
