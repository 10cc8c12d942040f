"""Keys of every provider are recognised in any place, and ordinary strings stay readable.

The keys are made of chance when the test runs: none of them stands in this file.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator
from typing import Any

import pytest

from usage_tracking.providers import HOSTS
from usage_tracking.redaction import REDACTED, clean_error, clean_metadata, redact

DIGITS = string.digits
HEX = DIGITS + "abcdef"
LOWER = string.ascii_lowercase + DIGITS
UPPER = string.ascii_uppercase + DIGITS
WORD = string.ascii_letters + DIGITS
SLUG = WORD + "_-"
BASE64 = WORD + "+/"

#: A part of a key: a word that every key of its kind has, or so many of these characters.
Part = str | tuple[str, int]

#: Provider → the formats of its keys.
OURS: dict[str, list[tuple[Part, ...]]] = {
    "openai": [
        ("sk-", (WORD, 48)),
        ("sk-proj-", (SLUG, 74), "T3Blbk", "FJ", (SLUG, 74)),
        ("sk-svcacct-", (SLUG, 58)),
        ("sk-admin-", (SLUG, 58)),
        ("sess-", (WORD, 40)),
    ],
    "anthropic": [
        ("sk-ant-", "api03-", (SLUG, 93), "AA"),
        ("sk-ant-", "admin01-", (SLUG, 93), "AA"),
        ("sk-ant-", "oat01-", (SLUG, 93), "AA"),
    ],
    "google": [
        ("AIza", "Sy", (SLUG, 33)),
        ("GOCSPX-", (SLUG, 28)),
        ("ya29.", "a0", (SLUG, 100)),
        ("AQ.", "Ab8", (SLUG, 50)),
        ("1//", "0g", (SLUG, 60)),
    ],
    "mistral": [((WORD, 32),)],
    "groq": [("gsk_", (WORD, 52))],
    "openrouter": [("sk-or-", "v1-", (HEX, 64))],
    "deepseek": [("sk-", (HEX, 32))],
    "x-ai": [("xai-", (WORD, 80))],
    "perplexity": [("pplx-", (WORD, 48))],
    "together": [("tgp_v1_", (SLUG, 43))],
    "fireworks": [("fw_", (WORD, 22)), ("fw-", (WORD, 24))],
    "cerebras": [("csk-", (LOWER, 48))],
    "cohere": [((WORD, 40),)],
    "moonshotai": [("sk-", (WORD, 48))],
    "voyageai": [("pa-", (SLUG, 43))],
    "jina": [("jina_", (HEX, 32), (SLUG, 28))],
    "replicate": [("r8_", (WORD, 37))],
    "novita": [("sk_", (SLUG, 43))],
    "huggingface": [("hf_", (string.ascii_letters, 34)), ("api_org_", (string.ascii_letters, 34))],
    "baseten": [((WORD, 8), ".", (WORD, 32))],
    "cloudflare": [("cfut_", (WORD, 48)), ("cfat_", (WORD, 48)), ((SLUG, 40),)],
    "github-copilot": [
        ("gho_", (WORD, 36)),
        ("ghu_", (WORD, 36)),
        ("github_pat_", (WORD, 22), "_", (WORD, 59)),
    ],
    "meta": [("LLM|", (DIGITS, 16), "|", (SLUG, 27))],
    "minimax": [("eyJ", (SLUG, 33), ".eyJ", (SLUG, 200), ".", (SLUG, 300))],
    "zai": [((HEX, 32), ".", (WORD, 16))],
    "azure": [((WORD, 52), "JQQJ99", (WORD, 10), "AAAB", "ACOG", (WORD, 4))],
    "watsonx": [((SLUG, 44),)],
    "databricks": [("dapi", (HEX, 32)), ("dapi", (HEX, 32), "-2")],
    "modal": [("ak-", (WORD, 22)), ("as-", (WORD, 22))],
    "nvidia": [("nvapi-", (SLUG, 64))],
    "elevenlabs": [("sk_", (HEX, 48))],
    "aws": [
        ("AKIA", (UPPER, 16)),
        ("ASIA", (UPPER, 16)),
        ("ABSK", (BASE64, 128), "="),
        ("bedrock-api-key-", (BASE64, 200)),
        ((BASE64, 40),),
    ],
    "sagemaker": [("AKIA", (UPPER, 16)), ((BASE64, 40),)],
}
#: Formats of other services that a site may call.
OTHERS: list[tuple[Part, ...]] = [
    ("glpat-", (SLUG, 20)),
    ("xoxb-", (DIGITS, 12), "-", (DIGITS, 12), "-", (WORD, 24)),
    ("sk_live_", (WORD, 24)),
    ("whsec_", (WORD, 32)),
    ("npm_", (WORD, 36)),
    ("pypi-", (SLUG, 80)),
    ("lsv2_pt_", (HEX, 32), "_", (HEX, 10)),
    ("sk-lf-", (HEX, 8), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 12)),
    ("pcsk_", (WORD, 6), "_", (WORD, 60)),
    ("tvly-", (WORD, 32)),
    ("rpa_", (UPPER, 40)),
    ("SG.", (SLUG, 22), ".", (SLUG, 43)),
    ("SK", (HEX, 32)),
    ((SLUG, 3), "8Q~", (SLUG, 34)),
]
FORMATS = [parts for formats in OURS.values() for parts in formats] + OTHERS
#: Keys that look like a digest and are recognised by their place alone: AssemblyAI, Azure,
#: Together, Deepgram, Exa.
DIGESTS: list[tuple[Part, ...]] = [
    ((HEX, 32),),
    ((HEX, 40),),
    ((HEX, 64),),
    ((HEX, 8), "-", (HEX, 4), "-4", (HEX, 3), "-a", (HEX, 3), "-", (HEX, 12)),
]
#: Providers that document no format of their keys, or use those of another.
WITHOUT_FORMAT = {
    *("writer", "arcee", "avian", "doubleword", "quicksilverpro", "typesafe", "zhipuai"),
    *("ovhcloud",),
}
#: Providers whose key formats are not covered here.
UNKNOWN_FORMAT = {
    *("ai21", "aimlapi", "assemblyai", "baichuan", "black-forest-labs", "cartesia", "chutes"),
    *("clarifai", "coze", "dashscope", "deepgram", "deepinfra", "dify", "edenai", "fal"),
    *("featherless", "friendli", "gigachat", "gladia", "hume", "hunyuan", "hyperbolic"),
    *("ideogram", "inception", "leonardo", "lepton", "lingyiwanwu", "llama", "lmnt", "luma"),
    *("modelslab", "murf", "nebius", "nomic", "ollama", "pollinations", "portkey", "qianfan"),
    *("reka", "requesty", "rev", "runway", "sambanova", "sarvam", "scaleway", "siliconflow"),
    *("spark", "stability", "stepfun", "unify", "upstage", "venice", "vercel", "volcengine"),
    *("yandex",),
}


def keys(formats: list[tuple[Part, ...]]) -> Iterator[str]:
    """Yield some keys of each format."""
    chance = random.Random(7)
    for parts in formats:
        found = 0
        while found < 5:
            key = "".join(
                part if isinstance(part, str) else "".join(chance.choices(part[0], k=part[1]))
                for part in parts
            )
            # One in a thousand does not look random.
            if key[0].isalnum() and (any(map(str.isdigit, key)) or key.startswith(("hf_", "api_"))):
                found += 1
                yield key


def leaks(places: dict[str, Any], formats: list[tuple[Part, ...]]) -> list[tuple[str, str, str]]:
    """Return each place, key and result in which a piece of the key is left."""
    found = []
    for key in keys(formats):
        pieces = [key[at : at + 10] for at in range(4, len(key) - 9)]
        for place, keep in places.items():
            kept = keep(key)
            if any(piece in kept for piece in pieces):
                found.append((place, key, kept))
    return found


def dumped(value: object) -> str:
    return json.dumps(clean_metadata(value), ensure_ascii=False)


BARE = {
    "bare": lambda key: clean_error(key),
    "in a sentence": lambda key: clean_error(f"The key {key} was refused, see the docs."),
    "in quotes": lambda key: clean_error(f"invalid key: '{key}'"),
    "behind an escape": lambda key: clean_error(f'{{"error": "no\\n{key}\\n"}}'),
    "in metadata": lambda key: dumped({"note": key, "deep": [{"er": f"used {key}"}]}),
    "as a key of metadata": lambda key: dumped({key[:100]: 1}),
}
PLACES = {
    "bearer": lambda key: clean_error(f"Authorization: Bearer {key}"),
    "token": lambda key: clean_error(f"sent Token {key.replace('|', '')}"),
    "other scheme": lambda key: clean_error(f"Authorization: Api-Key {key}"),
    "unknown scheme": lambda key: clean_error(f"authorization: Whatever {key}"),
    "header tuple": lambda key: clean_error(f"[('Authorization', 'Bearer {key}')]"),
    "header tuple without a scheme": lambda key: clean_error(f"('x-api-key', '{key}')"),
    "header tuple of bytes": lambda key: clean_error(f"[(b'x-api-key', b'{key}'), (b'a', b'b')]"),
    "header list": lambda key: clean_error(f'[["api-key", "{key}"], ["a", "b"]]'),
    "headers of bytes": lambda key: clean_error(f"{{b'Ocp-Apim-Subscription-Key': b'{key}'}}"),
    "headers with lists": lambda key: clean_error(f"{{'x-goog-api-key': ['{key}']}}"),
    "multi-dict": lambda key: clean_error(f"<CIMultiDict('Authorization': 'Token {key}')>"),
    "escaped JSON": lambda key: clean_error(f'"{{\\"api_key\\": \\"{key}\\"}}"'),
    "URL": lambda key: clean_error(f"GET https://example.com/v1/models?key={key}&alt=sse"),
    "URL, other name": lambda key: clean_error(f"https://example.com/?a=1&api_key={key}"),
    "URL, quoted": lambda key: clean_error(f"/login?next=%2Fv1%3Ftoken%3D{key}%26a"),
    "URL, password": lambda key: clean_error(f"https://me:{key.replace('/', '')}@example.com/"),
    "cookie": lambda key: clean_error(f"Cookie: theme=dark; session={key}; a=b"),
    "variable": lambda key: clean_error(f"OPENAI_API_KEY={key}"),
    "metadata: api_key": lambda key: dumped({"api_key": key}),
    "metadata: openai_key": lambda key: dumped({"openai_key": key}),
    "metadata: cookies": lambda key: dumped({"cookies": {"sid": key}}),
    "metadata: signature": lambda key: dumped({"signature": key}),
    "metadata: header": lambda key: dumped({"headers": [("Authorization", f"Bearer {key}")]}),
    "metadata: header of bytes": lambda key: dumped({"headers": [[b"x-api-key", key]]}),
    "metadata: name and value": lambda key: dumped([{"name": "x-api-key", "value": key}][0]),
}


def test_every_provider_of_the_table_of_hosts_has_a_format() -> None:
    providers = {*HOSTS.values()}

    assert providers - OURS.keys() == WITHOUT_FORMAT | UNKNOWN_FORMAT
    assert OURS.keys() <= providers
    assert len(FORMATS) >= 63


def test_no_key_is_kept() -> None:
    assert leaks(BARE | PLACES, FORMATS) == []


def test_no_digest_is_kept_where_a_key_belongs() -> None:
    assert leaks(PLACES, DIGESTS) == []


@pytest.mark.parametrize(
    "name",
    [
        *("openai_key", "OPENAI_KEY", "anthropicKey", "groq-key", "hf_key", "voyage_key", "my_key"),
        *("api_keys", "apikeys", "API_KEY_2", "api_key_prod", "openai_api_key_value", "ssh_key"),
        *("encryption_key", "session_key", "cookies", "Set-Cookie", "request.cookies", "signature"),
        *("X-Amz-Signature", "x-hub-signature", "sig", "hmac", "auth", "proxy_authorization"),
        *("secrets", "passwords", "password_hash", "credentials", "aws_credentials", "dsn", "otp"),
        *("access_tokens", "refreshTokens", "csrfmiddlewaretoken", "bearer_token", "xsrf_token"),
    ],
)
def test_name_of_a_secret(name: str) -> None:
    assert clean_metadata({name: "hunter2"}) == {name: REDACTED}


def test_key_under_an_unknown_name_is_known_by_its_look() -> None:
    assert clean_metadata({"acme_key": "k7" * 12}) == {"acme_key": REDACTED}
    assert clean_metadata({"cache_key": "k7" * 12}) == {"cache_key": "k7" * 12}


ORDINARY = [
    "550e8400-e29b-41d4-a716-446655440000",
    "01J9ZQ3V7N8K2M4P6R8T0W2Y4A",
    "gpt-4o-mini-2024-07-18",
    "claude-3-5-sonnet-20241022",
    "anthropic.claude-3-haiku-20240307-v1:0",
    "us.anthropic.claude-sonnet-4-20250514-v1:0",
    "models/gemini-2.5-flash-preview-05-20",
    "meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo",
    "accounts/fireworks/models/llama-v3p1-8b-instruct",
    "pplx-7b-online",
    "xai-grok-4-fast",
    "jina-embeddings-v3",
    "hf_hub_download",
    "hf-internal-testing/tiny-random-gpt2",
    "ft:gpt-4o-mini-2024-07-18:my-org:custom:9aBcDeFg",
    "chatcmpl-9Xr3mDqW7vTzKpLhN2bYcAeJfGsUo",
    "msg_01XFDUDYJgAACzvnptvVoYEL",
    "msg_bdrk_01XFDUDYJgAACzvnptvVoYEL",
    "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
    "req_011CSHoEeqs5C35K2UUqR7Fy",
    "toolu_01A09q90qw90lq917835lq9",
    "call_9Xr3mDqW7vTzKpLhN2bYcAeJ",
    "run_9Xr3mDqW7vTzKpLhN2bYcAeJ",
    "file-9Xr3mDqW7vTzKpLhN2bYcAeJ",
    "gen-1730000000-9Xr3mDqW7vTzKpLhN2bY",
    "cmpl-e5cc70bb28c444948073e77776eb30ef",
    "org-9Xr3mDqW7vTzKpLhN2bYcAeJ",
    "proj_9Xr3mDqW7vTzKpLhN2bYcAeJ",
    "lVaLjxD_KdvdIPkrWpqQc",
    "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
    "/home/ada/projects/Shop2/src/keys/loader.py",
    "/usr/lib/python3.11/site-packages/openai/resources/chat/completions/completions.py",
    r"C:\Users\Ada\AppData\Local\Programs\Python\Python311\python.exe",
    "shops/Users2/settingsPage",
    "usage_tracking/static/admin/main.3f2a9bc01d22.js",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
    "https://api.openai.com/v1/chat/completions?stream=true&model=gpt-4o",
    "https://user@example.com/inbox",
    "2026-03-14T12:00:00.123456+00:00",
    "192.168.1.10:8080",
    "Basic authentication is required, and bearer tokens are refused.",
    "Bearer authentication failed",
    "Token 12 of 4096 is outside the vocabulary; token limit exceeded",
    "Key (email)=(ada@example.com) already exists.",
    "task-12345678 and risk-assessment and disk-encryption-at-rest",
    "sk-learn-pipeline",
    "co-authored-by",
    "key-value-pairs",
    "Rate limit reached for gpt-4o in organization org-abc on tokens per min (TPM): Limit 30000",
    "This model's maximum context length is 128000 tokens. You requested 130000 tokens.",
    "{'max_tokens': 4096, 'total_tokens': 12345, 'finish_reason': 'length'}",
    "HTTPSConnectionPool(host='api.openai.com', port=443): Read timed out. (read timeout=600)",
    "asiainformationtechnology",
    "InternationalizationAndLocalization",
    "django.core.exceptions.ImproperlyConfigured",
]


def test_ordinary_string_stays_readable() -> None:
    changed = {text: kept for text in ORDINARY if (kept := redact(text)) != text}

    assert changed == {}
    assert clean_metadata({"a": ORDINARY[:50]}) == {"a": ORDINARY[:50]}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "max_tokens",
            "prompt_tokens",
            "token_count",
            "tokens",
            "cache_key",
            "primary_key",
            "key",
        ),
        *("public_key", "idempotency_key", "issue_key", "api_key_id", "api_key_name", "author"),
        *(
            "secret_name",
            "session_id",
            "tokens",
            "authored",
            "tokenizer",
            "signatures_checked",
            "keyboard",
        ),
    ],
)
def test_name_of_no_secret(name: str) -> None:
    assert clean_metadata({name: "value"}) == {name: "value"}
