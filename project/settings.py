"""Settings of the demo site, read from environment variables.

The defaults suit development on one machine. Without DEBUG, SECRET_KEY has no default.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = env("SECRET_KEY", default="")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured("SECRET_KEY must be set in the environment if DEBUG is off.")
    SECRET_KEY = "for development only"  # noqa: S105 - refused without DEBUG
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_extensions",
    "rest_framework",
    "rest_framework.authtoken",
    "django_filters",
    "drf_spectacular",
    "usage_tracking",
    "project.chat",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "usage_tracking.middleware.AIUsageMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{BASE_DIR}/db.sqlite3")}
# Rolls back what a view wrote if it raises. Its AI calls stay recorded, because they cost money.
DATABASES["default"]["ATOMIC_REQUESTS"] = env.bool("ATOMIC_REQUESTS", default=True)
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        # Without it, a transaction that reads before it writes can fail at once with "database is
        # locked": https://docs.djangoproject.com/en/5.2/ref/databases/#sqlite-notes
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "chat:page"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
TIME_ZONE = env("TIME_ZONE", default="UTC")
USE_TZ = True
STATIC_URL = "static/"

# Logs to the terminal, or to the file LOG_FILE.
LOG_FILE = env("LOG_FILE", default="")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {
        "log": {
            "formatter": "line",
            **(
                {"class": "logging.FileHandler", "filename": LOG_FILE, "encoding": "utf-8"}
                if LOG_FILE
                else {"class": "logging.StreamHandler"}
            ),
        },
    },
    "loggers": {
        name: {"handlers": ["log"], "level": "INFO", "propagate": False}
        for name in ("ai_usage_tracker", "django", "django.server")
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "project.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "usage_tracking demo",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
}

# The AI providers. The default is the stub on this machine (`python -m project.stub`), which
# accepts any key. A provider's real key is only sent to the URL that is set for that provider.
AI_PROVIDER_URL = env("AI_PROVIDER_URL", default="http://127.0.0.1:9100")
OPENAI_URL = env("OPENAI_BASE_URL", default="")
ANTHROPIC_URL = env("ANTHROPIC_BASE_URL", default="")
GEMINI_URL = env("GEMINI_BASE_URL", default="")
OPENAI_KEY = env("OPENAI_API_KEY", default="") if OPENAI_URL else "any-key"
ANTHROPIC_KEY = env("ANTHROPIC_API_KEY", default="") if ANTHROPIC_URL else "any-key"
GEMINI_KEY = env("GEMINI_API_KEY", default="") if GEMINI_URL else "any-key"
OPENAI_URL = OPENAI_URL or f"{AI_PROVIDER_URL}/openai/v1"
ANTHROPIC_URL = ANTHROPIC_URL or f"{AI_PROVIDER_URL}/anthropic"
GEMINI_URL = GEMINI_URL or f"{AI_PROVIDER_URL}/google"

# The stub is a gateway: it serves the wire formats of three providers at its own address.
AI_USAGE_GATEWAYS = {
    f"{urlsplit(AI_PROVIDER_URL).netloc}/{provider}": provider
    for provider in ("openai", "anthropic", "google")
}
AI_USAGE_SECTION_MAP = {"chat:web_knowledge": "web_knowledge"}
AI_USAGE_OUTBOX = env("AI_USAGE_OUTBOX", default=str(BASE_DIR / ".ai_usage_outbox"))
