"""Demo site: a small Django project that uses `usage_tracking` as a real site does."""
