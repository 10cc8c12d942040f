import os

OPENAI_API_KEY = os.environ.get("OPENAI_API_KEY")
OPENAI_URL = "https://api.openai.com/v1"
OLLAMA_URL = os.getenv("OLLAMA_URL", "http://localhost:11434")
STRIPE_URL = "https://api.stripe.com/v1"
DEEPSEEK_BASE = "https://api.deepseek.com"
WEATHER_URL = "https://api.weather.example/v2"
