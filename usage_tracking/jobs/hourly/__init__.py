"""Jobs for `manage.py runjobs hourly`."""
