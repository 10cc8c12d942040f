"""From Python's syntax tree to facts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .facts import (
    CLASS,
    FUNCTION,
    LAMBDA,
    MODULE,
    Binding,
    Expression,
    Imports,
    Mention,
    Parameter,
    Place,
    Scope,
    SourceFile,
)

_COLUMNS = 12  # bits of a position that hold the column
_END = 1 << 62


def lower(tree: ast.Module, source: SourceFile) -> None:
    """Fills `source` with all that its tree says."""
    _Lowering(source).module(tree)


def read_imports(tree: ast.Module) -> Imports:
    """The imports of a file, wherever they stand."""
    found = Imports()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found.modules += [(alias.name, 0, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.modules.append((node.module or "", node.level, names))
        else:
            for block in ("body", "orelse", "finalbody", "handlers", "cases"):
                waiting += getattr(node, block, None) or () if block != "body" else _body(node)
    return found


def _body(node: ast.AST) -> list[ast.AST]:
    body = getattr(node, "body", None)
    return body if isinstance(body, list) else []  # of a lambda or `a if b else c` it is one node


def position_of(line: int, column: int) -> int:
    return line << _COLUMNS | min(column, (1 << _COLUMNS) - 1)


class _Lowering:
    def __init__(self, source: SourceFile) -> None:
        self.source = source
        self.scope = Scope(0, MODULE, "", "", -1, 1, 0)
        self.withs: tuple[Expression, ...] = ()
        self.blocks: tuple[tuple[int, str], ...] = ()
        self.place = -1
        self.statement = 0
        self.handed = False

    def module(self, tree: ast.Module) -> None:
        self.source.scopes.append(self.scope)
        self.scope.end_line = self.source.lines
        self._statements(tree.body)

    # Scopes

    @contextmanager
    def _inside(self, scope: Scope) -> Iterator[None]:
        before = self.scope, self.withs, self.blocks, self.place, self.handed
        self.scope, self.withs, self.blocks, self.place = scope, (), (), -1
        self.handed = False
        yield
        self.scope, self.withs, self.blocks, self.place, self.handed = before

    def _new(self, kind: str, name: str, node: ast.stmt | ast.expr) -> Scope:
        parent = self.scope
        qualname = f"{parent.qualname}.{name}" if parent.qualname else name
        number = len(self.source.scopes)
        end = node.end_lineno or node.lineno
        scope = Scope(number, kind, name, qualname, parent.number, node.lineno, end)
        self.source.scopes.append(scope)
        return scope

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        decorators = [self.expression(item) for item in node.decorator_list]
        scope = self._new(FUNCTION, node.name, node)
        scope.is_async = isinstance(node, ast.AsyncFunctionDef)
        scope.decorators = decorators
        scope.returns_annotation = self._annotation(node.returns)
        self._parameters(node.args, scope)
        with self._inside(scope):
            self._statements(node.body)
        self._bind(node.name, ("scope", scope.number), position_of(node.lineno, 0))

    def _parameters(self, arguments: ast.arguments, scope: Scope) -> None:
        plain = arguments.posonlyargs + arguments.args
        defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
        defaults += arguments.defaults
        for argument, default in zip(plain, defaults, strict=True):
            scope.parameters.append(
                Parameter(
                    argument.arg, self._annotation(argument.annotation), self.expression(default)
                )
            )
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            scope.parameters.append(
                Parameter(
                    argument.arg,
                    self._annotation(argument.annotation),
                    self.expression(default),
                    keyword_only=True,
                )
            )
        if arguments.vararg:
            scope.rest = arguments.vararg.arg

    def _class(self, node: ast.ClassDef) -> None:
        decorators = [self.expression(item) for item in node.decorator_list]
        bases = [self.expression(item) for item in node.bases]
        scope = self._new(CLASS, node.name, node)
        scope.decorators, scope.bases = decorators, bases
        with self._inside(scope):
            self._statements(node.body)
        self._bind(node.name, ("scope", scope.number), position_of(node.lineno, 0))

    def _lambda(self, node: ast.Lambda) -> Expression:
        scope = self._new(LAMBDA, "<lambda>", node)
        self._parameters(node.args, scope)
        withs = self.withs
        with self._inside(scope):
            # Called at once as a rule: what is around it counts.
            self.withs = withs
            scope.returns.append(self.expression(node.body))
        return ("scope", scope.number)

    # Statements

    def _statements(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)

    def _block(self, number: int, name: str, body: Iterable[ast.stmt]) -> None:
        blocks, place = self.blocks, self.place
        self.blocks, self.place = (*blocks, (number, name)), -1
        self._statements(body)
        self.blocks, self.place = blocks, place

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node)
            case ast.ClassDef():
                self._class(node)
            case ast.Assign():
                value = self.expression(node.value)
                for target in node.targets:
                    self._assign(target, value, _end_of(node))
            case ast.AnnAssign():
                annotation = self._annotation(node.annotation)
                value = self.expression(node.value)
                typed: Expression = ("typed", annotation)
                both: Expression = ("any", (value, typed)) if node.value else typed
                self._assign(node.target, both, _end_of(node))
            case ast.AugAssign():
                value = self.expression(node.value)
                if isinstance(node.op, ast.Add | ast.BitOr):
                    before = self.expression(node.target)
                    tag = "join" if isinstance(node.op, ast.Add) else "pipe"
                    joined = (tag, (before, value)) if tag == "join" else (tag, before, value)
                    self._assign(node.target, joined, _end_of(node))
            case ast.Return():
                self.scope.returns.append(self.expression(node.value))
            case ast.Import():
                self._import(node)
            case ast.ImportFrom():
                self._import_from(node)
            case ast.With() | ast.AsyncWith():
                self._with(node)
            case ast.If():
                self.expression(node.test)
                number = self._number()
                self._block(number, "then", node.body)
                self._block(number, "else", node.orelse)
            case ast.For() | ast.AsyncFor():
                iterated = self.expression(node.iter)
                self._assign(node.target, ("element", iterated), _end_of(node.iter))
                number = self._number()
                self._block(number, "loop", node.body)
                self._block(number, "after", node.orelse)
            case ast.While():
                self.expression(node.test)
                number = self._number()
                self._block(number, "loop", node.body)
                self._block(number, "after", node.orelse)
            case ast.Try() | ast.TryStar():
                self._try(node)
            case ast.Match():
                subject = self.expression(node.subject)
                number = self._number()
                for index, case in enumerate(node.cases):
                    for name in _captures(case.pattern):
                        self._bind(name, subject, position_of(case.pattern.lineno, 0))
                    self.expression(case.guard)
                    self._block(number, f"case {index}", case.body)
            case ast.Global() | ast.Nonlocal():
                self.scope.global_names.update(node.names)
            case ast.Expr():
                self.expression(node.value)
            case ast.Delete():
                pass
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self.expression(child)

    def _number(self) -> int:
        self.statement += 1
        return self.statement

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        number = self._number()
        handled = "try" if node.handlers else "tried"
        self._block(number, handled, node.body)
        for index, handler in enumerate(node.handlers):
            self.expression(handler.type)
            self._block(number, f"except {index}", handler.body)
        self._block(number, "no error", node.orelse)
        self._block(number, "finally", node.finalbody)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        withs, place = self.withs, self.place
        for item in node.items:
            manager = self.expression(item.context_expr)
            if item.optional_vars is not None:
                self._assign(item.optional_vars, ("entered", manager), _end_of(item.context_expr))
            self.withs, self.place = (*self.withs, manager), -1
        self._statements(node.body)
        self.withs, self.place = withs, place

    def _import(self, node: ast.Import) -> None:
        position = position_of(node.lineno, node.col_offset)
        for alias in node.names:
            if alias.asname:
                self._bind(alias.asname, ("import", alias.name), position)
            else:
                self._bind(
                    alias.name.partition(".")[0], ("import", alias.name.partition(".")[0]), position
                )
        self.source.imports.modules += [(alias.name, 0, ()) for alias in node.names]

    def _import_from(self, node: ast.ImportFrom) -> None:
        position = position_of(node.lineno, node.col_offset)
        module = node.module or ""
        names = tuple(alias.name for alias in node.names)
        self.source.imports.modules.append((module, node.level, names))
        for alias in node.names:
            if alias.name == "*":
                self.source.star_imports.append((module, node.level))
            else:
                value = ("from", module, node.level, alias.name)
                self._bind(alias.asname or alias.name, value, position)

    # Targets

    def _assign(self, target: ast.expr, value: Expression, position: int) -> None:
        match target:
            case ast.Name():
                self._bind(target.id, value, position)
            case ast.Attribute():
                owner = self.expression(target.value)
                self.scope.attributes.append((owner, target.attr, value))
            case ast.Tuple() | ast.List():
                for index, element in enumerate(target.elts):
                    if isinstance(element, ast.Starred):
                        self._assign(element.value, None, position)
                    elif value and value[0] == "items" and index < len(value[1]):
                        self._assign(element, value[1][index], position)
                    else:
                        self._assign(element, ("index", value, index), position)
            case ast.Subscript():
                # The container gets one more element.
                held: Expression = ("table", ((self.expression(target.slice), value),))
                match target.value:
                    case ast.Name():
                        self._bind(target.value.id, held, position, always=False)
                    case ast.Attribute():
                        owner = self.expression(target.value.value)
                        self.scope.attributes.append((owner, target.value.attr, held))

    def _bind(
        self, name: str, value: Expression, position: int, *, always: bool | None = None
    ) -> None:
        scope = self.scope
        if name in scope.global_names:
            # Of the module, or of the function around: the nearest that has it.
            while scope.parent >= 0 and (name in scope.global_names or name not in scope.bindings):
                scope = self.source.scopes[scope.parent]
            position, always = 0, False
        if always is None:
            always = all(name in {"try", "tried", "finally"} for _, name in self.blocks)
        binding = Binding(position, value, always, self.scope.number)
        scope.bindings.setdefault(name, []).append(binding)

    # Expressions

    def expression(self, node: ast.AST | None) -> Expression:
        """The facts of an expression; its calls are noted on the way."""
        match node:
            case None:
                return None
            case ast.Name():
                named = ("name", node.id, position_of(node.lineno, node.col_offset))
                self._mention(named, node)
                return named
            case ast.Attribute():
                attribute = ("attr", self._part(node.value), node.attr)
                self._mention(attribute, node)
                return attribute
            case ast.Call():
                return self._call(node)
            case ast.Constant():
                return ("text", node.value) if isinstance(node.value, str) else None
            case ast.Await() | ast.Starred():
                return self.expression(node.value)
            case ast.JoinedStr():
                return ("join", tuple(self._joined(part) for part in node.values))
            case ast.BoolOp():
                options = tuple(self.expression(value) for value in node.values)
                return ("any", options)
            case ast.IfExp():
                self.expression(node.test)
                return ("any", (self.expression(node.body), self.expression(node.orelse)))
            case ast.Tuple() | ast.List() | ast.Set():
                return ("items", tuple(self.expression(element) for element in node.elts))
            case ast.Dict():
                pairs = [
                    (self.expression(key), self.expression(value))
                    for key, value in zip(node.keys, node.values, strict=True)
                ]
                for name, given in pairs:
                    if name and given and name[0] == given[0] == "text" and name[1].isupper():
                        self.source.defaults.setdefault(name[1], []).append(given[1])
                return ("table", tuple(pairs))
            case ast.Subscript():
                held = self._part(node.value)
                key: Expression = self.expression(node.slice)
                if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
                    return ("index", held, node.slice.value)
                return ("index", held, key)
            case ast.BinOp():
                left, right = self.expression(node.left), self.expression(node.right)
                if isinstance(node.op, ast.BitOr):
                    return ("pipe", left, right)
                if isinstance(node.op, ast.Add | ast.Div):
                    return ("join", (left, right))
                return _formatted(left, right) if isinstance(node.op, ast.Mod) else None
            case ast.Lambda():
                return self._lambda(node)
            case ast.NamedExpr():
                value = self.expression(node.value)
                self._assign(node.target, value, _end_of(node))
                return value
            case ast.Yield():
                self.scope.is_generator = True
                self._here()  # the block that a context manager of the project's own keeps open
                value = self.expression(node.value)
                self.scope.returns.append(value)
                return None
            case ast.YieldFrom():
                self.scope.is_generator = True
                self.expression(node.value)
                return None
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                self._comprehension(node.generators)
                return ("items", (self.expression(node.elt),))
            case ast.DictComp():
                self._comprehension(node.generators)
                return ("table", ((self.expression(node.key), self.expression(node.value)),))
            case ast.FormattedValue():
                return self.expression(node.value)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self.expression(child)
                return None

    def _part(self, node: ast.expr) -> Expression:
        """An expression whose own name says nothing: `a` in `a.b` is not handed anywhere."""
        match node:
            case ast.Name():
                return ("name", node.id, position_of(node.lineno, node.col_offset))
            case ast.Attribute():
                return ("attr", self._part(node.value), node.attr)
            case _:
                return self.expression(node)

    def _joined(self, node: ast.expr) -> Expression:
        if isinstance(node, ast.FormattedValue):
            return self.expression(node.value)
        return self.expression(node)

    def _comprehension(self, generators: Iterable[ast.comprehension]) -> None:
        for generator in generators:
            iterated = self.expression(generator.iter)
            self._assign(generator.target, ("element", iterated), 0)
            for condition in generator.ifs:
                self.expression(condition)

    def _call(self, node: ast.Call) -> Expression:
        function = self._part(node.func)
        before, self.handed = self.handed, True
        arguments = tuple(self.expression(argument) for argument in node.args)
        keywords = tuple((item.arg, self.expression(item.value)) for item in node.keywords)
        self.handed = before
        line = node.lineno
        end = node.end_lineno or line
        # The line of the method's name: `client.messages` may begin lines above `.create(`.
        call = ("call", function, arguments, keywords, line, end)
        self.scope.calls.append(Mention(call, self._here(), line))
        return call

    def _mention(self, expression: Expression, node: ast.expr) -> None:
        if isinstance(node, ast.Name) and not self.handed and self._is_local(node.id):
            return
        self.scope.mentions.append(
            Mention(expression, self._here(), node.lineno, handed=self.handed)
        )

    def _is_local(self, name: str) -> bool:
        """A variable of this function names no function of the project as a rule."""
        if self.scope.kind == MODULE or name in {"self", "cls"}:
            return self.scope.kind != MODULE
        if any(parameter.name == name for parameter in self.scope.parameters):
            return True
        bindings = self.scope.bindings.get(name, [])
        return any(
            not each.value or each.value[0] not in {"scope", "from", "import"} for each in bindings
        )

    def _here(self) -> int:
        if self.place < 0:
            self.place = len(self.scope.places)
            self.scope.places.append(Place(self.withs, self.blocks))
        return self.place

    # Annotations

    def _annotation(self, node: ast.expr | None) -> Expression:
        """Names, unions and the arguments of generics; strings are read as what they quote."""
        match node:
            case ast.Constant(value=str() as text):
                try:
                    quoted = ast.parse(text.strip(), mode="eval").body
                except (SyntaxError, ValueError, RecursionError):
                    return None
                for part in ast.walk(quoted):
                    if isinstance(part, ast.expr):
                        part.lineno, part.col_offset = node.lineno, node.col_offset
                return None if isinstance(quoted, ast.Constant) else self._annotation(quoted)
            case ast.Name() | ast.Attribute():
                return self._part(node)
            case ast.BinOp():
                return ("any", (self._annotation(node.left), self._annotation(node.right)))
            case ast.Subscript():
                inner = self._annotation(node.slice)
                return ("index", self._part(node.value), inner)
            case ast.Tuple() | ast.List():
                return ("items", tuple(self._annotation(element) for element in node.elts))
            case _:
                return None


def _end_of(node: ast.stmt | ast.expr) -> int:
    return position_of(node.end_lineno or node.lineno, node.end_col_offset or 0)


def _formatted(text: Expression, values: Expression) -> Expression:
    """ "%s/chat" % base, as an f-string has it."""
    if not text or text[0] != "text":
        return text
    given = list(values[1]) if values and values[0] == "items" else [values]
    parts: list[Expression] = []
    for piece in re.split(r"%[sdri]", text[1]):
        parts += [("text", piece), given.pop(0) if given else None]
    return ("join", tuple(parts[:-1]))


def _captures(pattern: ast.pattern) -> Iterator[str]:
    for part in ast.walk(pattern):
        if isinstance(part, ast.MatchAs | ast.MatchStar) and part.name:
            yield part.name
