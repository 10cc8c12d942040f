"""The SDKs, each session with its own pinned releases: one's release cannot break another's tests.

    make test-sdks                                     all, and docs/sdks.md against them
    make test-sdks ARGS="--session httpx -- -k groq"   some

What cannot live together has a session of its own: openai 2 and 3, and google-genai with and
without aiohttp, which its async client takes as soon as it is installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True

REQUIREMENTS = Path("tests/sdks/requirements")
#: Where sessions leave what they tried, for `python -m tests.sdks.matrix`.
RESULTS = Path(".nox/sdk-results")

MODULES = {
    "httpx": (
        "anthropic",
        "boto3",
        "cohere",
        "google",
        "groq",
        "huggingface",
        "langchain",
        "mistral",
        "ollama",
        "openai",
    ),
    "aiohttp": (
        "aiobotocore",
        "anthropic_aiohttp",
        "google_aiohttp",
        "litellm",
        "openai_aiohttp",
    ),
    "openai2": ("openai", "openai_aiohttp"),
}
nox.options.sessions = list(MODULES)


def _try(session: nox.Session) -> None:
    results = RESULTS / f"{session.name}.json"
    results.unlink(missing_ok=True)
    session.install("-r", str(REQUIREMENTS / f"{session.name}.txt"))
    session.run(
        "python",
        "-m",
        "pytest",
        "--ds=tests.sdks.settings",
        # Several SDKs leave connections to the garbage collector, or call what is deprecated, with
        # and without us: that is theirs, and no release that does so is to fail here.
        "-W",
        "ignore",
        f"--sdk-results={results}",
        *(f"tests/sdks/test_{module}.py" for module in MODULES[session.name]),
        *session.posargs,
    )


@nox.session
def httpx(session: nox.Session) -> None:
    """All that sends with httpx, httpx2 or botocore."""
    _try(session)


@nox.session
def aiohttp(session: nox.Session) -> None:
    """All that takes aiohttp if it is there."""
    _try(session)


@nox.session
def openai2(session: nox.Session) -> None:
    """The openai SDK before it moved to httpx2."""
    _try(session)


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """Pins the newest releases that the .in files allow, on every system we test on."""
    for name in MODULES:
        session.run(
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--upgrade",
            "--universal",
            "--python-version=3.11",
            "--no-header",
            "--no-annotate",
            f"--output-file={REQUIREMENTS / name}.txt",
            str(REQUIREMENTS / f"{name}.in"),
            *session.posargs,
        )
