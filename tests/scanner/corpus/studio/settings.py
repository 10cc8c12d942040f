import os

INSTALLED_APPS = ["studio.web", "studio.media", "studio.search"]
OPENAI_API_KEY = os.environ.get("OPENAI_API_KEY", "")
ANTHROPIC_API_KEY = os.environ.get("ANTHROPIC_API_KEY", "")
STRIPE_KEY = os.environ.get("STRIPE_KEY", "")
TENANT_MODELS = {"free": "gpt-4o-mini", "pro": "gpt-4o"}
