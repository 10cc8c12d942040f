from django.db import models


class Note(models.Model):
    author = models.CharField(max_length=80)
    text = models.TextField()
    summary = models.TextField(blank=True)


class Session(models.Model):
    key = models.CharField(max_length=80)
