"""A site that talks to language models in every way that sites do."""
