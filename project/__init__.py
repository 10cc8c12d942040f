"""The demo site: a small Django project that uses `usage_tracking` the way a real one would."""
