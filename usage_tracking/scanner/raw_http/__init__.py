"""HTTP requests that the project sends to a model without an SDK."""
