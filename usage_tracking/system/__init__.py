"""What depends on the platform, the process and the Python runtime."""
