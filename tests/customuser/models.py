"""A custom user model with another key and another username field."""

from __future__ import annotations

from uuid import uuid4

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class User(AbstractBaseUser):
    key = models.UUIDField("Schlüssel", primary_key=True, default=uuid4, db_column="Key")
    email = models.EmailField(unique=True, db_column="E-Mail")

    USERNAME_FIELD = "email"

    objects = BaseUserManager["User"]()
