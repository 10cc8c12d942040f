"""A site whose call sites are judged by the scanner and by what its rows say.

Each call site passes the name of its case as the model. `tests/drive.py` runs every entry point.
"""
