"""What an expression may be: an AI client, a function of the project, a text, or unknown."""
