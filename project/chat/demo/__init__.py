"""`python manage.py demo`: a provider, a site and its visitors, and the proof that all is recorded.

launch      starts the provider, then the rest in a child process whose settings know it
accounts    the users
site        the site on a real HTTP server
visits      what the visitors do
record      what the package wrote about it
proof       compares that with the provider's journal
report      all of it as text
"""
