"""Tools for the development of the package."""
