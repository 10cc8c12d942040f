"""From the expressions of Python's syntax tree to the tuples of `facts`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

from ..facts import CLASS, LAMBDA, MODULE, CodeScope, Expression, Mention, Parameter
from .building import ScopeBuilder, end_of, start_of


class ExpressionReader(ScopeBuilder):
    """Reads expressions, and notes the calls, mentions and bindings in them."""

    def expression(self, node: ast.AST | None) -> Expression:
        """Return an expression as a fact, and note its calls."""
        if node is None:
            return None
        read = _READERS.get(type(node))
        if read is None:
            self.other(node)
            return None
        return read(self, node)

    def other(self, node: ast.AST) -> None:
        """Read the expressions in a node that itself has no value for the scan."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.expression(child)

    # Names and calls

    def _name(self, node: ast.Name) -> Expression:
        name = ("name", node.id, start_of(node))
        self.mention(name, node)
        return name

    def _attribute(self, node: ast.Attribute) -> Expression:
        attribute = ("attr", self._part(node.value), node.attr)
        self.mention(attribute, node)
        return attribute

    def _part(self, node: ast.expr) -> Expression:
        """Read an expression that is not itself a mention: `a` in `a.b` is not passed on."""
        if isinstance(node, ast.Name):
            return ("name", node.id, start_of(node))
        if isinstance(node, ast.Attribute):
            return ("attr", self._part(node.value), node.attr)
        return self.expression(node)

    def _call(self, node: ast.Call) -> Expression:
        function = self._part(node.func)
        before, self.is_argument = self.is_argument, True
        arguments = tuple(self.expression(argument) for argument in node.args)
        keywords = tuple((item.arg, self.expression(item.value)) for item in node.keywords)
        self.is_argument = before
        line = node.lineno
        call = ("call", function, arguments, keywords, line, node.end_lineno or line)
        self.scope.calls.append(Mention(call, self.nesting(), line))
        if isinstance(node.func, ast.Attribute) and (added := _added(node.func.attr, call)):
            self._fill(node.func.value, added, node)
        return call

    def _fill(self, container: ast.expr, added: Expression, node: ast.Call) -> None:
        """Note that a container gets more entries."""
        match container:
            case ast.Attribute():
                self.scope.attributes.append((self._part(container.value), container.attr, added))
            case ast.Name() if scope := self.owner(container.id):
                here = scope is self.scope
                self.bind_in(scope, container.id, added, end_of(node) if here else 0)

    def _lambda(self, node: ast.Lambda) -> Expression:
        scope = self.new_scope(LAMBDA, "<lambda>", node)
        self.parameters(node.args, scope)
        # In a function, or as an argument, a lambda is normally called at once: the `with`
        # statements around it count. Else it outlives them: `ask = lambda: …` in a module.
        is_kept = not self.is_argument and self.scope.kind in {MODULE, CLASS}
        with self.inside(scope, () if is_kept else self.managers):
            scope.returns.append(self.expression(node.body))
        return ("scope", scope.number)

    def parameters(self, arguments: ast.arguments, scope: CodeScope) -> None:
        """Read the parameters of a function."""
        plain = arguments.posonlyargs + arguments.args
        defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
        defaults += arguments.defaults
        for argument, default in zip(plain, defaults, strict=True):
            annotation = self.annotation(argument.annotation)
            scope.parameters.append(Parameter(argument.arg, annotation, self.expression(default)))
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            annotation = self.annotation(argument.annotation)
            scope.parameters.append(
                Parameter(argument.arg, annotation, self.expression(default), keyword_only=True)
            )

    # Strings

    def _constant(self, node: ast.Constant) -> Expression:
        return ("text", node.value) if isinstance(node.value, str) else None

    def _f_string(self, node: ast.JoinedStr) -> Expression:
        return ("join", tuple(self.expression(part) for part in node.values))

    def _operation(self, node: ast.BinOp) -> Expression:
        left, right = self.expression(node.left), self.expression(node.right)
        match node.op:
            case ast.BitOr():
                return ("pipe", left, right)
            case ast.Add():
                return ("join", (left, right))
            case ast.Div():  # of paths and URLs
                return ("join", (left, ("text", "/"), right))
            case ast.Mod():
                return _formatted(left, right)
            case ast.Mult() if left and left[0] == "items":
                return left
        return None

    # Alternatives

    def _operand(self, node: ast.Starred | ast.FormattedValue) -> Expression:
        return self.expression(node.value)

    def _await(self, node: ast.Await) -> Expression:
        value = self.expression(node.value)
        if isinstance(node.value, ast.Call):
            self.scope.calls[-1].is_awaited = True
        return value

    def _alternatives(self, node: ast.BoolOp) -> Expression:
        return ("any", tuple(self.expression(value) for value in node.values))

    def _conditional(self, node: ast.IfExp) -> Expression:
        self.expression(node.test)
        return ("any", (self.expression(node.body), self.expression(node.orelse)))

    # Containers

    def _items(self, node: ast.Tuple | ast.List | ast.Set) -> Expression:
        return ("items", tuple(self.expression(element) for element in node.elts))

    def _dict(self, node: ast.Dict) -> Expression:
        pairs = [
            (self.expression(key), self.expression(value))
            for key, value in zip(node.keys, node.values, strict=True)
        ]
        for name, value in pairs:
            if name and value and name[0] == value[0] == "text" and name[1].isupper():
                self.source.defaults.setdefault(name[1], []).append(value[1])
        return ("table", tuple(pairs))

    def _subscript(self, node: ast.Subscript) -> Expression:
        container = self._part(node.value)
        key: Expression = self.expression(node.slice)
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
            return ("index", container, node.slice.value)
        return ("index", container, key)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Expression:
        is_kept = isinstance(node, ast.GeneratorExp) and not self.is_argument
        with self.outside_with() if is_kept else nullcontext():
            self._generators(node.generators)
            return ("items", (self.expression(node.elt),))

    def _dict_comprehension(self, node: ast.DictComp) -> Expression:
        self._generators(node.generators)
        return ("table", ((self.expression(node.key), self.expression(node.value)),))

    def _generators(self, generators: Iterable[ast.comprehension]) -> None:
        for generator in generators:
            iterated = self.expression(generator.iter)
            self.assign(generator.target, ("element", iterated), 0)
            for condition in generator.ifs:
                self.expression(condition)

    # Assignment

    def _walrus(self, node: ast.NamedExpr) -> Expression:
        value = self.expression(node.value)
        self.assign(node.target, value, end_of(node))
        return value

    def _yield(self, node: ast.Yield) -> Expression:
        self.scope.yields.append(self.nesting())
        self.scope.is_generator = True
        self.scope.returns.append(self.expression(node.value))
        return None

    def _yield_from(self, node: ast.YieldFrom) -> Expression:
        self.scope.yields.append(self.nesting())
        self.scope.is_generator = True
        self.expression(node.value)
        return None

    def assign(self, target: ast.expr, value: Expression, position: int) -> None:
        """Bind the names in a target of an assignment."""
        match target:
            case ast.Name():
                self.bind(target.id, value, position)
            case ast.Attribute():
                owner = self.expression(target.value)
                self.scope.attributes.append((owner, target.attr, value))
            case ast.Tuple() | ast.List():
                self._unpack(target.elts, value, position)
            case ast.Subscript():
                # The container gets one more entry.
                container: ast.expr = target
                entry = value
                while isinstance(container, ast.Subscript):
                    entry = ("table", ((self.expression(container.slice), entry),))
                    container = container.value
                match container:
                    case ast.Name():
                        scope = self.owner(container.id) or self.scope
                        here = scope is self.scope
                        self.bind_in(scope, container.id, entry, position if here else 0)
                    case ast.Attribute():
                        owner = self.expression(container.value)
                        self.scope.attributes.append((owner, container.attr, entry))

    def _unpack(self, targets: Iterable[ast.expr], value: Expression, position: int) -> None:
        for index, element in enumerate(targets):
            if isinstance(element, ast.Starred):
                self.assign(element.value, ("items", (("element", value),)), position)
            elif value and value[0] == "items" and index < len(value[1]):
                self.assign(element, value[1][index], position)
            else:
                self.assign(element, ("index", value, index), position)

    # Annotations

    def annotation(self, node: ast.expr | None) -> Expression:
        """Read names, unions and the arguments of generics; a string is read as what it quotes."""
        match node:
            case ast.Constant(value=str() as text):
                return self._quoted_annotation(text, node)
            case ast.Name() | ast.Attribute():
                return self._part(node)
            case ast.BinOp():
                return ("any", (self.annotation(node.left), self.annotation(node.right)))
            case ast.Subscript():
                argument = self.annotation(node.slice)
                return ("index", self._part(node.value), argument)
            case ast.Tuple() | ast.List():
                return ("items", tuple(self.annotation(element) for element in node.elts))
            case _:
                return None

    def _quoted_annotation(self, text: str, node: ast.Constant) -> Expression:
        try:
            quoted = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError):
            return None
        for part in ast.walk(quoted):
            if isinstance(part, ast.expr):
                part.lineno, part.col_offset = node.lineno, node.col_offset
        return None if isinstance(quoted, ast.Constant) else self.annotation(quoted)


# Not bound methods: their references to the reader would be a cycle, which keeps its facts alive.
_READERS: dict[type[ast.AST], Callable[[ExpressionReader, Any], Expression]] = {
    ast.Attribute: ExpressionReader._attribute,
    ast.Await: ExpressionReader._await,
    ast.BinOp: ExpressionReader._operation,
    ast.BoolOp: ExpressionReader._alternatives,
    ast.Call: ExpressionReader._call,
    ast.Constant: ExpressionReader._constant,
    ast.Dict: ExpressionReader._dict,
    ast.DictComp: ExpressionReader._dict_comprehension,
    ast.FormattedValue: ExpressionReader._operand,
    ast.GeneratorExp: ExpressionReader._comprehension,
    ast.IfExp: ExpressionReader._conditional,
    ast.JoinedStr: ExpressionReader._f_string,
    ast.Lambda: ExpressionReader._lambda,
    ast.List: ExpressionReader._items,
    ast.ListComp: ExpressionReader._comprehension,
    ast.Name: ExpressionReader._name,
    ast.NamedExpr: ExpressionReader._walrus,
    ast.Set: ExpressionReader._items,
    ast.SetComp: ExpressionReader._comprehension,
    ast.Starred: ExpressionReader._operand,
    ast.Subscript: ExpressionReader._subscript,
    ast.Tuple: ExpressionReader._items,
    ast.Yield: ExpressionReader._yield,
    ast.YieldFrom: ExpressionReader._yield_from,
}


#: Methods that add one argument to a container → its index; and all elements of one.
_ADDING = {
    **dict.fromkeys(("append", "appendleft", "add", "put", "put_nowait", "push", "set"), 0),
    "insert": 1,
}
_EXTENDING = {"extend", "update"}


def _added(method: str, call: Any) -> Expression:
    """Return what a call of a container's method adds to it."""
    _, _, arguments, keywords, *_ = call
    if method in _ADDING and len(arguments) == _ADDING[method] + 1:
        return ("filled", ("items", (arguments[-1],)))
    if method in _EXTENDING and arguments:
        return ("filled", arguments[0])
    if method == "update" and keywords:
        entries = tuple((("text", name), value) for name, value in keywords if name)
        return ("filled", ("table", entries))
    if method == "setdefault" and len(arguments) == 2:
        return ("filled", ("table", (arguments,)))
    return None


def _formatted(text: Expression, values: Expression) -> Expression:
    """Return `"%s/chat" % base` as an f-string."""
    if not text or text[0] != "text":
        return text
    left = list(values[1]) if values and values[0] == "items" else [values]
    parts: list[Expression] = []
    for piece in re.split(r"%[sdri]", text[1]):
        parts += [("text", piece), left.pop(0) if left else None]
    return ("join", tuple(parts[:-1]))
