"""The table of the paths of AI calls, of polls for what they began, and of websockets.

A path is given as its ending. `{}` stands for one segment, `{*}` for one or more.
"""

from __future__ import annotations

import re

#: Wire format and operation (https://opentelemetry.io/docs/specs/semconv/registry/attributes/
#: gen-ai/ `gen_ai.operation.name`; where that has no name, the plainest one). "" if the model
#: decides the operation.
Kind = tuple[str, str]


# What a POST begins. Generic paths may be a site's own: there only an answer of the right shape is
# recorded.
CALLS: dict[str, Kind] = {
    "/chat/completions": ("openai.chat", "chat"),
    "/async/chat/completions": ("perplexity.async", "chat"),
    "/async/sonar": ("perplexity.async", "chat"),
    "/completions": ("openai.chat", "text_completion"),
    "/agents/completions": ("openai.chat", "chat"),  # Mistral
    "/responses": ("openai.responses", "chat"),
    "/responses/compact": ("openai.responses", "chat"),
    "/decisions": ("decisions", "decision"),  # OpenAI, Google
    "/v1/systemone": ("decisions", "decision"),  # Ollama and others
    "/embeddings": ("openai.embeddings", "embeddings"),
    "/multimodalembeddings": ("openai.embeddings", "embeddings"),  # Voyage
    "/contextualizedembeddings": ("openai.embeddings", "embeddings"),
    "/images/generations": ("openai.images", "image_generation"),
    "/images/edits": ("openai.images", "image_generation"),
    "/images/variations": ("openai.images", "image_generation"),
    "/videos": ("videos", "video_generation"),
    "/videos/generations": ("videos", "video_generation"),
    "/videos/edits": ("videos", "video_generation"),
    "/videos/extensions": ("videos", "video_generation"),
    "/video/generations/jobs": ("videos", "video_generation"),  # Azure
    "/threads/runs": ("openai.runs", "invoke_agent"),
    "/audio/transcriptions": ("openai.audio", "transcription"),
    "/audio/translations": ("openai.audio", "transcription"),
    "/audio/speech": ("openai.audio", "speech"),
    "/v1/messages": ("anthropic.messages", "chat"),
    "/v1/complete": ("anthropic.complete", "text_completion"),
    ":generateContent": ("gemini.generate_content", "generate_content"),
    ":streamGenerateContent": ("gemini.generate_content", "generate_content"),
    ":embedContent": ("gemini.embed_content", "embeddings"),
    ":batchEmbedContents": ("gemini.embed_content", "embeddings"),
    ":generateAnswer": ("gemini.generate_content", "generate_content"),
    "/interactions": ("gemini.interactions", "generate_content"),
    ":predict": ("vertex.predict", ""),
    ":predictLongRunning": ("google.operations", "video_generation"),
    ":rawPredict": ("vertex.raw_predict", "chat"),
    ":streamRawPredict": ("vertex.raw_predict", "chat"),
    "/converse": ("bedrock.converse", "chat"),
    "/converse-stream": ("bedrock.converse", "chat"),
    "/invoke": ("bedrock.invoke", ""),
    "/invoke-with-response-stream": ("bedrock.invoke", ""),
    "/async-invoke": ("bedrock.async_invoke", "generate_content"),
    "/invocations": ("invocations", "chat"),  # Databricks, SageMaker
    "/v1/chat": ("cohere.chat", "chat"),
    "/v2/chat": ("cohere.chat", "chat"),
    "/v1/generate": ("cohere.chat", "text_completion"),
    "/v1/summarize": ("cohere.chat", "text_completion"),
    "/v2/parse": ("cohere.chat", "ocr"),
    "/v1/classify": ("classify", "classification"),  # Cohere, Jina
    "/v1/embed": ("cohere.embed", "embeddings"),
    "/v2/embed": ("cohere.embed", "embeddings"),
    "/rerank": ("rerank", "rerank"),
    "/ocr": ("mistral.ocr", "ocr"),
    "/api/chat": ("ollama", "chat"),
    "/api/generate": ("ollama", "text_completion"),
    "/api/embed": ("ollama", "embeddings"),
    "/text/chat": ("openai.chat", "chat"),  # watsonx
    "/text/chat_stream": ("openai.chat", "chat"),
    "/text/generation": ("watsonx", "text_completion"),
    "/text/generation_stream": ("watsonx", "text_completion"),
    "/ml/v1/text/embeddings": ("watsonx", "embeddings"),
    "/ml/v1/text/rerank": ("watsonx", "rerank"),
    "/predictions": ("replicate", "generate_content"),
    "/batches": ("batch", "batch"),
    "/messages/batches": ("anthropic.batch", "batch"),
    ":batchGenerateContent": ("gemini.batch", "batch"),
    ":asyncBatchEmbedContent": ("gemini.batch", "batch"),
    "/batch/jobs": ("mistral.batch", "batch"),
    "/batchPredictionJobs": ("vertex.batch", "batch"),
    "/model-invocation-job": ("bedrock.batch", "batch"),
    "/threads/{}/runs": ("openai.runs", "invoke_agent"),
    "/videos/{}/remix": ("videos", "video_generation"),
}

# Paths that only one provider has, or that mean something else elsewhere: OpenAI only creates a
# conversation where Mistral answers. They count at this provider, and on unknown hosts if the
# answer has the right shape.
CALLS_OF: dict[str, dict[str, Kind]] = {
    "mistral": {
        "/v1/conversations": ("mistral.conversations", "chat"),
        "/v1/conversations/{}": ("mistral.conversations", "chat"),
        "/v1/conversations/{}/restart": ("mistral.conversations", "chat"),
    },
    "aws": {
        "/agents/{}/agentAliases/{}/sessions/{}/text": ("bedrock.agent", "invoke_agent"),
        "/agents/{}": ("bedrock.agent", "invoke_agent"),
        "/flows/{}/aliases/{}": ("bedrock.agent", "invoke_agent"),
        "/retrieveAndGenerate": ("bedrock.agent", "chat"),
        "/retrieveAndGenerateStream": ("bedrock.agent", "chat"),
        "/optimize-prompt": ("bedrock.agent", "chat"),
        "/generateQuery": ("bedrock.agent", "chat"),
    },
    "cloudflare": {
        "/ai/run/{*}": ("cloudflare", ""),
        "/workers-ai/@{}/{}/{}": ("cloudflare", ""),  # through the AI Gateway
    },
    "fireworks": {
        "/workflows/{*}/text_to_image": ("openai.images", "image_generation"),
        "/image_generation/{*}": ("openai.images", "image_generation"),
    },
    "writer": {
        "/v1/applications/{}": ("openai.chat", "text_completion"),
        "/v1/graphs/question": ("openai.chat", "chat"),
    },
    "huggingface": {
        "/hf-inference/models/{}": ("huggingface", ""),
        "/hf-inference/models/{}/{}": ("huggingface", ""),
        # One of feature-extraction and sentence-similarity; other tasks need no name.
        "/hf-inference/models/{}/{}/pipeline/{}": ("huggingface", "embeddings"),
        "/fal-ai/{*}": ("huggingface", ""),
        "/novita/v3/hf/{*}": ("huggingface", ""),
        "/wavespeed/api/v3/{*}": ("huggingface", ""),
    },
    "runway": {
        **dict.fromkeys(
            (
                *("/image_to_video", "/text_to_video", "/video_to_video", "/video_to_hdr"),
                *("/video_upscale", "/character_performance", "/avatar_videos"),
                *("/generate/video", "/recipes/{}"),
            ),
            ("media.tasks", "video_generation"),
        ),
        **dict.fromkeys(
            ("/text_to_image", "/image_upscale", "/generate/image"),
            ("media.tasks", "image_generation"),
        ),
        **dict.fromkeys(
            (
                *("/text_to_speech", "/speech_to_speech", "/sound_effect", "/video_to_audio"),
                *("/voice_dubbing", "/voice_isolation", "/generate/audio"),
            ),
            ("media.tasks", "speech"),
        ),
    },
    "black-forest-labs": {"/v1/flux-{}": ("media.tasks", "image_generation")},
    "luma": {
        **dict.fromkeys(
            ("/dream-machine/v1/generations/image", "/dream-machine/v1/generations/image/reframe"),
            ("media.tasks", "image_generation"),
        ),
        **dict.fromkeys(
            (
                "/dream-machine/v1/generations",
                "/dream-machine/v1/generations/video",
                "/dream-machine/v1/generations/video/{}",
                "/dream-machine/v1/generations/{}/audio",
                "/dream-machine/v1/generations/{}/upscale",
            ),
            ("media.tasks", "video_generation"),
        ),
    },
}

# What asks about a job by GET, or by POST, which may also cancel it or let it go on.
POLLS: dict[str, Kind] = {
    "/responses/{}": ("openai.responses", "chat"),
    "/interactions/{}": ("gemini.interactions", "generate_content"),
    "/async/chat/completions/{}": ("perplexity.async", "chat"),
    "/async/sonar/{}": ("perplexity.async", "chat"),
    "/chat/deferred-completion/{}": ("openai.chat", "chat"),  # xAI
    "/threads/{}/runs/{}": ("openai.runs", "invoke_agent"),
    "/videos/{}": ("videos", "video_generation"),
    "/video/generations/jobs/{}": ("videos", "video_generation"),
    "/models/{}/operations/{}": ("google.operations", "video_generation"),
    "/async-invoke/{*}": ("bedrock.async_invoke", "generate_content"),
    "/predictions/{}": ("replicate", "generate_content"),
    "/messages/batches/{}": ("anthropic.batch", "batch"),
    "/messages/batches/{}/results": ("anthropic.batch_results", "batch"),
    "/files/{}:download": ("gemini.batch_results", "batch"),
    "/batches/{}": ("batch", "batch"),
    "/batch/jobs/{}": ("mistral.batch", "batch"),
    "/batchPredictionJobs/{}": ("vertex.batch", "batch"),
    "/model-invocation-job/{*}": ("bedrock.batch", "batch"),
    "/files/{}/content": ("openai.batch_results", "batch"),
}
POLLS_OF: dict[str, dict[str, Kind]] = {
    "runway": {"/tasks/{}": ("media.tasks", "video_generation")},
    "black-forest-labs": {"/get_result": ("media.tasks", "image_generation")},
    "luma": {"/dream-machine/v1/generations/{}": ("media.tasks", "video_generation")},
}
POSTED_POLLS: dict[str, Kind] = {
    "/responses/{}/cancel": ("openai.responses", "chat"),
    "/interactions/{}/cancel": ("gemini.interactions", "generate_content"),
    "/threads/{}/runs/{}/cancel": ("openai.runs", "invoke_agent"),
    "/threads/{}/runs/{}/submit_tool_outputs": ("openai.runs", "invoke_agent"),
    "/models/{}:fetchPredictOperation": ("google.operations", "video_generation"),
    "/predictions/{}/cancel": ("replicate", "generate_content"),
    "/messages/batches/{}/cancel": ("anthropic.batch", "batch"),
    "/batches/{}/cancel": ("batch", "batch"),
    "/batch/jobs/{}/cancel": ("mistral.batch", "batch"),
}


# What a websocket is opened to; the first that matches. Google's may end with "Constrained", for a
# browser's token.
SOCKETS = {
    "/audio/transcriptions/realtime": "openai.audio",  # Mistral
    "/audio/speech/realtime": "openai.audio",  # Mistral
    "/realtime": "openai.realtime",  # OpenAI, Azure, xAI
    "/responses": "openai.responses",  # OpenAI, xAI
    "/realtime/translations": "openai.audio",
    "/live/sessions": "openai.audio",
    "/live/sessions/{}/fork": "openai.audio",  # a copy of a session is a session of its own
    "BidiGenerateContent": "gemini.generate_content",
    "BidiGenerateContentConstrained": "gemini.generate_content",
}

# The model in a path of Google, Bedrock (an ARN may have slashes), Replicate, Azure, Cloudflare,
# Hugging Face, or of an endpoint of Databricks or SageMaker, whose name the price is for.
MODEL = re.compile(
    r"/(?:tunedM|m)odels/(?P<google>[^/:]+):\w+/?$"
    r"|/model/(?P<bedrock>.+)/(?:converse|invoke)[a-z-]*/?$"
    r"|/models/(?P<replicate>[^/]+/[^/]+)/predictions/?$"
    r"|/deployments/(?P<azure>[^/]+)/(?:chat/|images/|audio/)?[a-z]+/?$"
    r"|/(?:serving-)?endpoints/(?P<endpoint>[^/]+)(?:/served-models/[^/]+)?/invocations/?$"
    r"|/(?:workflows/(?=.+/text_to_image)|image_generation/)(?P<fireworks>accounts/.+?)"
    r"(?:/text_to_image)?/?$"
    r"|/(?:ai/run/|workers-ai/(?=@))(?P<cloudflare>.+?)/?$"
    r"|/hf-inference/models/(?P<huggingface>[^/]+(?:/[^/]+)?)(?:/pipeline/[^/]+)?/?$"
    r"|/(?:fal-ai|novita/v3/hf|wavespeed/api/v3)/(?P<routed>.+?)/?$"
)

DEPLOYMENT = "/invocations"
#: Endings that count only after the name of a model.
NEED_MODEL = {
    *(":predict", ":predictLongRunning", ":rawPredict", ":streamRawPredict"),
    *("/converse", "/converse-stream", "/invoke", "/invoke-with-response-stream"),
    DEPLOYMENT,
}
#: Names in the place of a model that are not models: Anthropic on Vertex counts tokens under one.
NO_MODELS = {"count-tokens"}
