"""Which fields a row shows, and the foreign key to a user in another database."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import connections, models
from django.db.models.deletion import Collector
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor

from . import places

#: What a row says of its call, in the order of the API, the exports and the admin. Each adds the
#: id, the user, the section and the time in its own form.
CALL_FIELDS = (
    "provider",
    "model_name",
    "operation",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "usage_details",
    "usage_source",
    "cost",
    "response_time_ms",
    "success",
    "error_message",
    "metadata",
)


def set_null(
    collector: Collector, field: models.Field[Any, Any], logs: models.QuerySet[Any], using: str
) -> None:
    """Set the user of logs to NULL (`on_delete`), in one statement.

    The plain queryset leaves the daily rows alone, which Django deletes anyway. If the logs are in
    another database than the users, `receivers.user_deleted` does the same there.
    """
    if is_beside_users(logs.model, using):
        plain: models.QuerySet[Any] = models.QuerySet(logs.model, logs.query, using)
        models.SET_NULL(collector, field, plain, using)


def cascade(
    collector: Collector, field: models.Field[Any, Any], days: models.QuerySet[Any], using: str
) -> None:
    """Delete daily rows (`on_delete`), if they are in the users' database."""
    if is_beside_users(days.model, using):
        models.CASCADE(collector, field, days, using)


def is_beside_users(model: type[models.Model], using: str) -> bool:
    """Return whether the table of `model` is in the users' database `using`.

    It can be there, with its foreign key, although the routers name another database: the table was
    left behind when the log moved, or both aliases are the same database.
    """
    if not places.users_are_apart():
        return True
    connection = connections[using]
    with connection.cursor() as cursor:
        return model._meta.db_table in connection.introspection.table_names(cursor)


# As for Django's own: only the statement that changes the rows reads them.
set_null.lazy_sub_objs = True  # type: ignore[attr-defined]
cascade.lazy_sub_objs = True  # type: ignore[attr-defined]


class _UserDescriptor(ForwardManyToOneDescriptor):  # type: ignore[type-arg]
    """`row.user`, read from the users' database; None if that has no such user."""

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
            # Django would call the routers' allow_relation() for the two databases.
            setattr(instance, self.field.attname, value.pk)
            self.field.set_cached_value(instance, value)
        else:
            super().__set__(instance, value)


class UserForeignKey(models.ForeignKey[Any, Any]):
    """A foreign key to the user, without a constraint if the users are in another database.

    The routers decide that when a table is created, so migrations do not record it.
    """

    forward_related_accessor_class = _UserDescriptor

    @property
    def db_constraint(self) -> bool:
        """Whether the column gets a constraint: the users are in the same database."""
        return not places.users_are_apart()

    @db_constraint.setter
    def db_constraint(self, value: bool) -> None:
        """Ignore what Django's field sets."""

    def validate(self, value: Any, model_instance: Any) -> None:
        """Check that the user exists in the users' database, not in that of the row."""
        if not places.users_are_apart():
            super().validate(value, model_instance)
            return
        models.Field.validate(self, value, model_instance)
        users: models.QuerySet[Any] = models.QuerySet(get_user_model(), using=places.own_users())
        if value is not None and not users.filter(pk=value).exists():
            named = {"model": users.model._meta.verbose_name, "pk": value, "field": "pk"}
            raise ValidationError(
                self.error_messages["invalid"], code="invalid", params=named | {"value": value}
            )

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        """Leave `db_constraint` out of migrations."""
        name, path, arguments, keywords = super().deconstruct()
        keywords.pop("db_constraint", None)
        return name, path, arguments, keywords
