"""The user of a row, whose own row may be in another database."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.models.deletion import Collector
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor

from . import places


def set_null(
    collector: Collector, field: models.Field[Any, Any], logs: models.QuerySet[Any], using: str
) -> None:
    """`on_delete` as Django's SET_NULL, by one statement.

    The queryset of the logs would take each log off its daily row, which Django deletes anyway.
    Where the users are in another database, `signals.user_deleted` does it.
    """
    if not places.users_are_apart():
        plain: models.QuerySet[Any] = models.QuerySet(logs.model, logs.query, using)
        models.SET_NULL(collector, field, plain, using)


def cascade(
    collector: Collector, field: models.Field[Any, Any], days: models.QuerySet[Any], using: str
) -> None:
    """`on_delete` as Django's CASCADE, in the database of the user only."""
    if not places.users_are_apart():
        models.CASCADE(collector, field, days, using)


# As for Django's own: the rows are found by the statement that changes them, and not before.
set_null.lazy_sub_objs = True  # type: ignore[attr-defined]
cascade.lazy_sub_objs = True  # type: ignore[attr-defined]


class _UserDescriptor(ForwardManyToOneDescriptor):  # type: ignore[type-arg]
    """`row.user`, looked up in the database of the users; None for one who is not there."""

    def get_queryset(self, **hints: Any) -> models.QuerySet[Any]:
        users: models.QuerySet[Any] = super().get_queryset(**hints)
        return users.using(places.own_users()) if places.users_are_apart() else users

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        try:
            return super().__get__(instance, cls)
        except ObjectDoesNotExist:
            if places.users_are_apart():
                return None
            raise

    def __set__(self, instance: Any, value: Any) -> None:
        if places.users_are_apart() and isinstance(value, get_user_model()):
            # Django asks the routers whether rows of two databases may know each other.
            setattr(instance, self.field.attname, value.pk)
            self.field.set_cached_value(instance, value)
        else:
            super().__set__(instance, value)


class UserForeignKey(models.ForeignKey[Any, Any]):
    """A foreign key to the user, without a constraint if the users are in another database.

    That is asked of the routers whenever a table is made, and is no part of the migrations.
    """

    forward_related_accessor_class = _UserDescriptor

    @property
    def db_constraint(self) -> bool:
        return not places.users_are_apart()

    @db_constraint.setter
    def db_constraint(self, value: bool) -> None:
        """Ignore what Django's field sets."""

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, arguments, keywords = super().deconstruct()
        keywords.pop("db_constraint", None)
        return name, path, arguments, keywords
