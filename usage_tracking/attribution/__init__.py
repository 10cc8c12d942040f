"""Attribute each AI call to a user, a section and metadata."""
