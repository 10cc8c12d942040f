"""Chat app that calls language models in all the ways that sites do."""
