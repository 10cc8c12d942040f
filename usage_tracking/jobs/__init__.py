"""Jobs of django-extensions, for `manage.py runjobs`."""
