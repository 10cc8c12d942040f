"""The work behind the commands that rebuild, prune, erase, export and import."""
