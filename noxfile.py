"""Sessions that need a separate environment: SDKs, the support matrix, the audit, the build.

    make test-sdks                                     all SDKs; compares docs/sdks.md
    make test-sdks ARGS="--session httpx -- -k groq"   some SDKs
    make test-matrix                                   each Python with each Django on each database
    make test-matrix ARGS="--tags psycopg2"            one database, which is a tag
    make test-matrix ARGS="--session floor"            the oldest supported releases
    make audit                                         known vulnerabilities in pinned packages
    make dist                                          build the package, and check it as PyPI does

Each SDK session pins its own releases, so that a release cannot break the tests of another session.
SDKs that cannot be installed together have separate sessions: openai 2 and 3, and google-genai with
and without aiohttp, which its async client uses whenever it is installed.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True

REQUIREMENTS = Path("tests/sdks/requirements")
#: Results of the sessions, for `python -m tests.sdks.matrix`.
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
        "methods",
        "mistral",
        "ollama",
        "openai",
        "selftest",
        "starts",
    ),
    "aiohttp": (
        "aiobotocore",
        "anthropic_aiohttp",
        "google_aiohttp",
        "litellm",
        "methods",
        "openai_aiohttp",
        "selftest",
    ),
    "openai2": ("methods", "openai", "openai_aiohttp", "starts"),
    "mocks": ("mocks",),
    "grpc": ("google_generativeai", "grpc", "selftest", "vertexai", "xai"),
    "sockets": ("selftest", "sockets"),
}
nox.options.sessions = list(MODULES)

#: The support matrix of the README: Django release → Python versions. The session `floor` tests the
#: oldest Django.
SUPPORTED = {
    "5.2": ("3.11", "3.12", "3.13"),
    "6.1": ("3.12", "3.13"),
}
#: Number of test processes, as in the Makefile.
WORKERS = os.environ.get("WORKERS", "logical")
_POSTGRES = ("-m=not (browser or costly or one_driver)", "--database=postgres")
DATABASES = {
    "sqlite": ("-m=not (browser or costly and process)", "--database=sqlite"),
    "psycopg": (*_POSTGRES, "--driver=psycopg", "--only-database-tests"),
    "psycopg2": (*_POSTGRES, "--driver=psycopg2", "--only-database-tests"),
}

#: Tests that an old Django, REST framework, django-filter or wrapt can break.
FLOOR_TESTS = (
    "tests/api",
    "tests/capture/test_aiohttp.py",
    "tests/capture/test_transports.py",
    "tests/test_admin.py",
    "tests/test_admin_sites.py",
    "tests/test_checks.py",
    "tests/test_daily.py",
    "tests/test_dashboard.py",
    "tests/delivery/test_worker.py",
    "tests/test_export.py",
    "tests/test_middleware.py",
    "tests/test_migrations.py",
    "tests/test_models.py",
    "tests/test_prometheus.py",
    "tests/test_querysets.py",
    "tests/delivery/test_writer.py",
    "tests/attribution/test_threads.py",
    "tests/test_views.py",
)


def _try(session: nox.Session) -> None:
    results = RESULTS / f"{session.name}.json"
    results.unlink(missing_ok=True)
    session.install("-r", str(REQUIREMENTS / f"{session.name}.txt"))
    session.run(
        "python",
        "-m",
        "pytest",
        "--ds=tests.sdks.settings",
        # Several SDKs leave connections to the garbage collector or use deprecated functions, with
        # and without this app. Such a release must not fail here.
        "-W",
        "ignore",
        # No other tests run the hooks on libraries that only a session installs.
        "--cov",
        "--cov-report=",
        f"--sdk-results={results}",
        *(f"tests/sdks/test_{module}.py" for module in MODULES[session.name]),
        *session.posargs,
        env={"COVERAGE_FILE": f".coverage.{session.name}"},
    )


@nox.session
def httpx(session: nox.Session) -> None:
    """Test SDKs that send with httpx, httpx2 or botocore."""
    _try(session)


@nox.session
def aiohttp(session: nox.Session) -> None:
    """Test SDKs that use aiohttp if it is installed."""
    _try(session)


@nox.session
def openai2(session: nox.Session) -> None:
    """Test the openai SDK before its move to httpx2."""
    _try(session)


@nox.session
def mocks(session: nox.Session) -> None:
    """Test the tools with which sites mock HTTP in their tests."""
    _try(session)


@nox.session
def grpc(session: nox.Session) -> None:
    """Test SDKs that send with grpc."""
    _try(session)


@nox.session
def sockets(session: nox.Session) -> None:
    """Test frameworks and libraries that use websockets."""
    _try(session)


@nox.session(venv_params=["--seed"])  # with pip, which the packaging tests call
@nox.parametrize("database", [nox.param(name, id=name, tags=[name]) for name in DATABASES])
@nox.parametrize(
    ("python", "django"),
    [
        nox.param(python, django, id=f"python{python}-django{django}")
        for django, pythons in SUPPORTED.items()
        for python in pythons
    ],
)
def tests(session: nox.Session, django: str, database: str) -> None:
    """Run the tests with one Python and one Django, on one database."""
    session.install("-r", "requirements.txt")
    session.install(f"Django~={django}.0")
    session.run(
        *("python", "-m", "pytest", f"--numprocesses={WORKERS}", "--dist=worksteal"),
        *(*DATABASES[database], *session.posargs),
    )


@nox.session(python="3.11", tags=["sqlite"])
def floor(session: nox.Session) -> None:
    """Test the oldest releases that pyproject.toml allows, on SQLite, without drf-spectacular."""
    session.install("-r", "requirements.txt")
    session.install(
        "--upgrade",  # also downgrades; otherwise installed releases are kept
        "--resolution=lowest-direct",
        *("-r", "pyproject.toml"),
        *(f"--extra={extra}" for extra in ("api", "celery", "export", "prometheus", "rich")),
    )
    session.run("uv", "pip", "uninstall", "drf-spectacular")
    session.run(
        *("python", "-m", "pytest", f"--numprocesses={WORKERS}", "--dist=worksteal"),
        *(*DATABASES["sqlite"], *(session.posargs or FLOOR_TESTS)),
    )


@nox.session
def audit(session: nox.Session) -> None:
    """Find known vulnerabilities (PyPI advisories) in all pinned packages, including the SDKs."""
    session.install("pip-audit>=2.10,<3")
    for path in (Path("requirements.txt"), *sorted(REQUIREMENTS.glob("*.txt"))):
        session.run(
            "pip-audit",
            "--strict",  # fail if a package cannot be looked up
            "--no-deps",
            "--disable-pip",
            "--progress-spinner=off",
            f"--requirement={path}",
        )


@nox.session
def dist(session: nox.Session) -> None:
    """Build the distributions into dist/, check them as PyPI does, and install the source."""
    session.install("build[uv]==1.6.1", "twine==7.0.0")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--installer=uv")
    (source,) = Path("dist").glob("*.tar.gz")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    session.install(str(source))
    # Isolated, so that this is not the package of the working directory.
    session.run("python", "-I", "-c", "import usage_tracking; print(usage_tracking.ai_usage)")


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """Pin the newest releases that the .in files allow, for all platforms."""
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
