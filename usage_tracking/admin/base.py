"""The admin of rows that the site may list, search, export and delete, but not edit."""

from __future__ import annotations

import importlib.util
from typing import Any

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..exports.files import CONTENT_TYPES
from ..exports.names import command
from ..related_users import with_users
from ..reports import Totals
from . import cells
from .changelist import UncountedChangeList
from .themes import ModelAdmin, stylesheets


class ReadOnlyAdmin(ModelAdmin):
    """A list that stays fast at any length, and pages without anything to save."""

    change_list_template = "admin/usage_tracking/change_list.html"
    list_per_page = 100
    show_full_result_count = False
    # Facets count the rows of every choice of every filter.
    show_facets = ShowFacets.NEVER
    # Any other order would sort the whole table for one page.
    sortable_by = ()
    #: The dotted path of the django-import-export `Resource` that defines the columns of exports.
    export_resource = ""

    class Media:
        css = {"all": ["usage_tracking/usage.css", "usage_tracking/admin.css", *stylesheets()]}

    def totals_of(self, rows: QuerySet[Any]) -> Totals:
        """Return the totals of `rows`, in one statement."""
        raise NotImplementedError

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows with their users, which may be in another database."""
        return with_users(super().get_queryset(request))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Return the row of a page, with the request, which Django does not give to its fields."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.viewed_by = request
        return row

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fieldsets without the fields that have nothing to say about `obj`."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None:
            return fieldsets
        silent = self.silent_fields(obj)
        return [
            (
                title,
                options | {"fields": [name for name in options["fields"] if name not in silent]},
            )
            for title, options in fieldsets
        ]

    def silent_fields(self, row: Any) -> set[str]:
        """Return the fields that do not apply to `row`."""
        return set()

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: only the package writes rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: only the package writes rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user is a superuser; the delete permission is not enough."""
        return bool(request.user.is_active and request.user.is_superuser)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[UncountedChangeList]:
        """Return the list that does not count its rows."""
        return UncountedChangeList

    def get_urls(self) -> list[URLPattern]:
        """Add the URL of the exports, if the packages for one are installed."""
        urls: list[URLPattern] = super().get_urls()
        if not exports():
            return urls
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view(self.export_view)
        for alias in connections:
            # A transaction of ATOMIC_REQUESTS would last as long as the export, and on SQLite it
            # can keep all other connections from writing.
            view = transaction.non_atomic_requests(alias)(view)
        return [path("export/<str:file_format>/", view, name=name), *urls]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Add the links to the exports to the list."""
        links = {"exports": [(name, name.upper()) for name in exports()]}
        return super().changelist_view(request, (extra_context or {}) | links)

    def export_view(self, request: HttpRequest, file_format: str) -> HttpResponseBase:
        """Send the rows that match the list's filters and search, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        from ..contrib.import_export import TooLongError, export_response

        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            # The list shows the error message.
            return HttpResponseRedirect(f"{self._list_url()}?{request.GET.urlencode()}")
        resource = import_string(self.export_resource)()
        try:
            return export_response(request, rows, resource, file_format)
        except TooLongError:
            context = self.admin_site.each_context(request) | {
                "title": _("The export is too large for a download"),
                "opts": self.opts,
                "list_url": f"{self._list_url()}?{request.GET.urlencode()}",
                "seconds": f"{resource.max_seconds:g}",
                "command": command(self.model, request.GET, file_format),
            }
            template = "admin/usage_tracking/export_refused.html"
            return TemplateResponse(request, template, context, status=422)

    @admin.display(description=gettext_lazy("user"))
    def user_link(self, row: Any) -> SafeString:
        """Return the user's name as a link to the list of that user's rows."""
        if row.user_id is None:
            return cells.unknown(_("unattributed"))
        if row.user is None:  # deleted in another database, while this row still names the user
            return format_html("{}", row.user_id)
        name = row.user.get_username()
        return format_html('<a href="{}">{}</a>', self._rows_url(row.user_id), cells.one_line(name))

    @admin.display(description=gettext_lazy("user"))
    def user_text(self, row: Any) -> SafeString:
        """Return the user, with links to the user's rows and to the user's page in the admin."""
        if row.user is None:
            return self.user_link(row)
        opts = row.user._meta
        links = {self._rows_url(row.user_id): _("All rows of this user")}
        if may_view(self.admin_site, type(row.user), row.viewed_by, row.user):
            name = f"admin:{opts.app_label}_{opts.model_name}_change"
            url = reverse(name, args=[quote(row.user_id)], current_app=self.admin_site.name)
            links[url] = _("Page of this user")
        return format_html("<bdi>{}</bdi>{}", row.user.get_username(), cells.links(links))

    def _rows_url(self, user_id: Any) -> str:
        return f"{self._list_url()}?{urlencode({'user': user_id})}"

    def _list_url(self) -> str:
        return list_url(self.admin_site, self.model)


def list_url(site: admin.AdminSite, model: type[Model]) -> str:
    """Return the URL of the list of `model` in `site`."""
    opts = model._meta
    name = f"admin:{opts.app_label}_{opts.model_name}_changelist"
    return reverse(name, current_app=site.name)


def may_view(
    site: admin.AdminSite, model: type[Model], request: HttpRequest, row: Any = None
) -> bool:
    """Return whether `site` has pages of `model` that the user of `request` may see."""
    if not site.is_registered(model):
        return False
    return bool(site.get_model_admin(model).has_view_permission(request, row))


def exports() -> tuple[str, ...]:
    """Return the formats that the installed packages can write."""
    needed = {"xlsx": "xlsxwriter"}
    if importlib.util.find_spec("import_export") is None:
        return ()
    return tuple(
        name
        for name in CONTENT_TYPES
        if name not in needed or importlib.util.find_spec(needed[name])
    )
