"""Modules of `python manage.py demo`, which verifies that every AI call of a site is recorded.

launch       start the stub provider, and the site in a child process
accounts     create the users
site         serve the site over HTTP
visits       simulate the visitors
record       read the rows and daily rows that usage_tracking wrote
proof        compare them with the provider's journal
performance  run the site, the visitors and the comparison
report       format the results as text
"""
