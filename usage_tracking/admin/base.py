"""The admin of rows that the site may list, search, export and delete, but not edit."""

from __future__ import annotations

import importlib.util
from typing import Any

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..related_users import with_users
from .changelist import UncountedChangeList

#: The formats that a list can be exported to, with the extra "export".
EXPORT_FORMATS = ("csv", "xlsx", "json")


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
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
        css = {"all": ["usage_tracking/usage.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows with their users, which may be in another database."""
        return with_users(super().get_queryset(request))

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
        return [path("export/<str:file_format>/", view, name=name), *urls]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Add the links to the exports to the list."""
        links = {"exports": [(name, name.upper()) for name in exports()]}
        return super().changelist_view(request, (extra_context or {}) | links)

    def export_view(self, request: HttpRequest, file_format: str) -> HttpResponseBase:
        """Stream the rows that match the list's filters and search, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        from ..contrib.import_export import export_response

        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            # The list shows the error message.
            return HttpResponseRedirect(f"{self._list_url()}?{request.GET.urlencode()}")
        resource = import_string(self.export_resource)()
        return export_response(request, rows, resource, file_format)

    @admin.display(description=gettext_lazy("user"))
    def user_link(self, row: Any) -> SafeString:
        """Return the user's name as a link to the list of that user's rows."""
        if row.user_id is None:
            return format_html('<span class="ai-usage-unknown">{}</span>', _("unattributed"))
        if row.user is None:  # deleted in another database, while this row still names the user
            return format_html("{}", row.user_id)
        return format_html(
            '<a href="{}?user={}">{}</a>', self._list_url(), row.user_id, row.user.get_username()
        )

    def _list_url(self) -> str:
        return reverse(
            f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist",
            current_app=self.admin_site.name,
        )


def exports() -> tuple[str, ...]:
    """Return the formats that the installed packages can write."""
    needed = {"xlsx": "openpyxl"}
    if importlib.util.find_spec("import_export") is None:
        return ()
    return tuple(
        name
        for name in EXPORT_FORMATS
        if name not in needed or importlib.util.find_spec(needed[name])
    )
