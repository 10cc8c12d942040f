"""Jobs for `manage.py runjobs daily`."""
