"""Protect the tables, and a site's own tables of the same names, from each other.

A migration that creates tables refuses to run while a name that it needs is taken. After that, no
migration of another app may change these tables. Otherwise the old migrations of a site's own
tracker, written for its own `ai_usage_log`, would drop or alter the new table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError
from django.db import connections, router
from django.db.migrations import Migration, operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

LABEL = "usage_tracking"
FIRST = (LABEL, "0001_ai_usage")
BILLS = (LABEL, "0004_provider_bill")
#: The tables of this app → the migration that creates them.
TABLES = {"ai_usage_log": FIRST, "ai_usage_tracking": FIRST, "ai_usage_bill": BILLS}
_GUIDE = "See docs/migrating.md for the steps."

#: Operations that do not change a table.
_NO_SQL = (operations.AlterModelOptions, operations.AlterModelManagers)

_TAKEN = {
    "postgresql": """
        SELECT taken.relname, taken.relkind, owner.relname
        FROM pg_class taken
        JOIN pg_namespace ON pg_namespace.oid = taken.relnamespace
        LEFT JOIN pg_index ON pg_index.indexrelid = taken.oid
        LEFT JOIN pg_class owner ON owner.oid = pg_index.indrelid
        WHERE nspname = current_schema() AND taken.relname IN ({names})
        ORDER BY owner.relname IS NOT NULL, taken.relname
    """,
    "sqlite": """
        SELECT name, type, tbl_name FROM sqlite_master
        WHERE lower(name) IN ({names}) ORDER BY type = 'index', name
    """,
}
#: Attributes of an operation on a model that hold its name.
_NAMES = ("name", "old_name", "new_name")
#: PostgreSQL's `pg_class.relkind`: https://www.postgresql.org/docs/current/catalog-pg-class.html
_KINDS = {
    "r": "table",
    "p": "table",
    "f": "foreign table",
    "v": "view",
    "m": "materialized view",
    "i": "index",
    "I": "index",
    "S": "sequence",
    "c": "type",
}


def refuse_taken_names(
    apps: Any, schema_editor: Any, indexes: Sequence[str], migration: tuple[str, str] = FIRST
) -> None:
    """Refuse to migrate if a table or an index has the name of one of ours. Changes nothing.

    Only names in the schema of new tables count.

    Args:
        apps: The models at this point of the migrations.
        schema_editor: The editor of the database.
        indexes: The names of the indexes that are created next.
        migration: The migration that creates them.

    Raises:
        CommandError: A name is taken. The message explains how to free it.
    """
    connection = schema_editor.connection
    names = [*_created_by(migration), *indexes]
    placeholders = ", ".join(["%s"] * len(names))
    with connection.cursor() as cursor:
        cursor.execute(_TAKEN[connection.vendor].format(names=placeholders), names)
        taken = cursor.fetchall()
    if taken:
        models = {
            model._meta.db_table: model._meta.label
            for model in apps.get_models(include_auto_created=True)
        }
        order = _run_before(migration)
        reasons = [_reason(connection.vendor, models, order, *row) for row in taken]
        raise CommandError("\n".join([*reasons, f"Then migrate again. {_GUIDE}"]))


def _created_by(migration: tuple[str, str]) -> list[str]:
    return [table for table, creator in TABLES.items() if creator == migration]


def _run_before(migration: tuple[str, str]) -> str:
    return f"run_before = [{migration!r}]".replace("'", '"')


def _reason(
    vendor: str, models: dict[str, str], order: str, name: str, kind: str, owner: str | None
) -> str:
    kind = _KINDS.get(kind, kind)
    if kind == "index":
        text = f"usage_tracking cannot create the index {name}: {owner} has an index of this name."
    else:
        text = f"usage_tracking cannot create {name}: a {kind} of this name exists."
        if name in models:
            return (
                f"{text} It belongs to {models[name]}. Set the db_table of this model to "
                f"'old_{name}', run makemigrations, and add {order} to the new migration."
            )
    if vendor == "sqlite" and kind != "table":
        return f"{text} Drop it: DROP {kind.upper()} {name}."
    return f"{text} Rename it: ALTER {kind.upper()} {name} RENAME TO old_{name}."


def protect_tables(*, using: str, plan: Iterable[tuple[Migration, bool]] = (), **_: Any) -> None:
    """Refuse a plan in which a migration of another app would change one of our tables.

    Also refuse to drop a site's own table that has one of their names, if it has rows. This is a
    receiver of `pre_migrate`, so nothing has been migrated yet.

    Raises:
        CommandError: The plan is refused. The message explains how to change it.
    """
    plan_by_key = {
        (migration.app_label, migration.name): _PlannedMigration(migration, backwards)
        for migration, backwards in plan
    }
    if all(label == LABEL for label, _name in plan_by_key) or not (
        router.allow_migrate(using, LABEL, model_name="aiusagelog")
    ):
        return
    connection = connections[using]
    loader = MigrationLoader(connection)
    applied = loader.applied_migrations
    guarded = {name for name, key in TABLES.items() if key in applied or key in plan_by_key}
    if not guarded:
        return
    existing = {name for name in guarded if TABLES[name] in applied}
    for key, planned in plan_by_key.items():
        changed = _created_by(key)
        existing = existing.difference(changed) if planned.backwards else existing.union(changed)
        planned.ours = existing
    state = ProjectState(real_apps=loader.unmigrated_apps)
    for migration in _in_order(loader):
        key = migration.app_label, migration.name
        if key in plan_by_key and key[0] != LABEL:
            for operation, model, table in _touched(migration.operations, key[0], state, guarded):
                if router.allow_migrate(using, key[0], model_name=model):
                    _refuse(
                        plan_by_key[key],
                        operation,
                        table,
                        connection,
                        applied=TABLES[table] in applied,
                    )
        elif key in plan_by_key or key in applied:
            state = migration.mutate_state(state, preserve=False)


@dataclass(slots=True)
class _PlannedMigration:
    """A migration of the plan."""

    migration: Migration
    backwards: bool
    #: Those of our tables that exist when it runs.
    ours: Collection[str] = ()


def _refuse(
    planned: _PlannedMigration, operation: Operation, table: str, connection: Any, *, applied: bool
) -> None:
    name = f"{planned.migration.app_label}.{planned.migration.name}"
    if table in planned.ours:
        raise CommandError(
            f"{name} cannot be {'unapplied' if planned.backwards else 'applied'}: its operation "
            f'"{operation.describe()}" changes the table {table} of usage_tracking. '
            f"Nothing was migrated. {_remedy(planned, table, applied=applied)} {_GUIDE}"
        )
    is_drop = isinstance(operation, operations.DeleteModel) and not planned.backwards
    if is_drop and _has_rows(connection, table):
        raise CommandError(
            f"{name} would drop your own table {table}, which has rows, before usage_tracking "
            "creates its table of this name. Nothing was migrated. To keep the rows, do not delete "
            f"the model. {_GUIDE} To drop them, run `migrate {planned.migration.app_label}` first."
        )


def _remedy(planned: _PlannedMigration, table: str, *, applied: bool) -> str:
    migration = TABLES[table]
    if planned.backwards:
        earlier = int(migration[1].partition("_")[0]) - 1
        target = f"{earlier:04}" if earlier else "zero"
        dropped = [name for name, key in TABLES.items() if key >= migration]
        return f"Run `migrate {LABEL} {target}` first, which drops {', '.join(dropped)}."
    if applied:
        return (
            "If your own table had this name and you renamed it with SQL, record the migration "
            "that renames it as applied."
        )
    return f"Add {_run_before(migration)} to the migration that renames your own table."


def _has_rows(connection: Any, table: str) -> bool:
    with connection.cursor() as cursor:
        if table not in connection.introspection.table_names(cursor):
            return False
        cursor.execute(f"SELECT 1 FROM {connection.ops.quote_name(table)} LIMIT 1")
        return cursor.fetchone() is not None


def _in_order(loader: MigrationLoader) -> list[Migration]:
    """Return all migrations in the order in which Django applies them."""
    keys = (key for leaf in loader.graph.leaf_nodes() for key in loader.graph.forwards_plan(leaf))
    return [loader.graph.nodes[key] for key in dict.fromkeys(keys)]


def _touched(
    todo: Iterable[Operation], label: str, state: ProjectState, guarded: Collection[str]
) -> list[tuple[Operation, str, str]]:
    """Apply `todo` to `state`; return the operations on guarded names, with model and table."""
    found = []
    for operation in todo:
        if isinstance(operation, operations.SeparateDatabaseAndState):
            found += _touched(operation.database_operations, label, state.clone(), guarded)
            operation.state_forwards(label, state)
            continue
        before = _tables(state, label)
        operation.state_forwards(label, state)
        after = _tables(state, label)
        # If an operation has a `model_name`, its `name` is that of a field or an index.
        attributes = ("model_name",) if hasattr(operation, "model_name") else _NAMES
        models = [str(getattr(operation, name, "")).lower() for name in attributes]
        if not isinstance(operation, _NO_SQL):
            found += [
                (operation, model, tables[model])
                for model in models
                for tables in (before, after)
                if tables.get(model) in guarded
            ]
    return found


def _tables(state: ProjectState, label: str) -> dict[str, str]:
    """Return the models of an app whose tables Django changes, with their tables."""
    return {
        name: model.options.get("db_table") or f"{label}_{name}"
        for (app, name), model in state.models.items()
        if app == label and model.options.get("managed", True) and not model.options.get("proxy")
    }
