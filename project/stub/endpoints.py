"""All endpoints of the stub."""

from __future__ import annotations

from project.stub import (
    bedrock_wire,
    cohere_wire,
    google_wire,
    jobs,
    mistral_wire,
    ollama_wire,
    openai_like,
    openai_media,
    openai_wire,
)
from project.stub.anthropic_wire import Messages
from project.stub.background import Background
from project.stub.batches import make_batch_endpoints
from project.stub.openai_responses import (
    CancelResponse,
    Responses,
    RetrieveResponse,
)
from project.stub.wire import Endpoint

#: First path segment → provider, with the names of genai-prices where it has one.
PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "mistral": "mistral",
    "groq": "groq",
    "openrouter": "openrouter",
    "hf": "huggingface",
    "cohere": "cohere",
    "ollama": "ollama",
    "bedrock": "aws",
    "perplexity": "perplexity",
    "x-ai": "x-ai",
    "replicate": "replicate",
    "runway": "runway",
    "luma": "luma",
    "bfl": "black-forest-labs",
}


def make_endpoints() -> tuple[Endpoint, ...]:
    """Return new endpoints. Each server has its own jobs and batches."""
    background = Background()
    return (
        *(endpoint(background) for endpoint in jobs.ENDPOINTS),
        openai_wire.ChatCompletions(),
        Responses(background),
        RetrieveResponse(background),
        CancelResponse(background),
        openai_wire.Embeddings(),
        openai_wire.Completions(),
        openai_wire.Decisions(),
        openai_media.Images(),
        openai_media.Transcriptions(),
        Messages(),
        google_wire.GenerateContent(),
        google_wire.EmbedContent(),
        openai_like.MistralChat(),
        openai_like.MistralEmbeddings(),
        mistral_wire.Conversations(),
        openai_like.GroqChat(),
        openai_like.OpenRouterChat(),
        openai_like.HuggingFaceChat(),
        cohere_wire.Chat(),
        cohere_wire.ChatV1(),
        cohere_wire.Embed(),
        cohere_wire.Rerank(),
        ollama_wire.Chat(),
        ollama_wire.Generate(),
        ollama_wire.Embed(),
        bedrock_wire.Converse(),
        bedrock_wire.InvokeAgent(),
        bedrock_wire.InvokeEmbeddings(),
        bedrock_wire.Invoke(),
        *make_batch_endpoints(),
    )
