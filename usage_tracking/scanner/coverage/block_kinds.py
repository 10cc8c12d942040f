"""Which kind of code a block is in: whether a section is read from its function or its class."""

from __future__ import annotations

from ..facts import CLASS, MODULE
from ..program import Program, Ref, last_name

#: Decorators that hand a view to a framework that reads no section from it.
_REGISTER = {
    *("get", "post", "put", "patch", "delete", "head", "options", "websocket"),
    *("route", "api_route", "websocket_route", "api_operation", "view_config"),
}


def kind_of_view(view: Ref, program: Program, *, reads_views: bool) -> str:
    """Return the kind of a block in a view: "view" or "view method" if its section is read.

    Some functions look like views, but no section is read from them: views of other frameworks,
    functions made by a function, and context processors, which return a dictionary. Their kind is
    "function" or "method". So is that of every view if the site reads no sections from views.
    """
    scope = program.scope(view)
    decorators = {
        last_name(each[1] if each and each[0] == "call" else each) for each in scope.decorators
    }
    around = program.files[view[0]].scopes[scope.parent]
    if around.kind != CLASS:
        is_context = any(each and each[0] == "table" for each in scope.returns)
        is_view = around.kind == MODULE and not decorators & _REGISTER and not is_context
        return "view" if reads_views and is_view else "function"
    is_view_class = any(last_name(base) not in {"", "object"} for base in around.bases)
    is_view = is_view_class and not decorators & {"staticmethod", "classmethod"}
    return "view method" if reads_views and is_view else "method"
