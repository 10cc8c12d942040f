"""HTTP requests to models that the project sends itself, without an SDK."""
