"""What is known about SDKs; `data_files` reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from .facts import Imports
from .recorded_urls import DEFAULT, Requests, Tracking


@dataclass(frozen=True, slots=True)
class Target:
    """What a call requests (`chat`, `embedding`, …), from which provider, over which transport."""

    kind: str
    provider: str
    #: "" if it is unknown.
    transport: str
    #: Whether capture records the request if the transport is hooked; None if that is unknown.
    is_recorded: bool | None = True

    def sent_to(self, is_reached: bool | None) -> Target:  # noqa: FBT001 -- or unknown
        """Return the target of a call whose host is reached by capture, not, or perhaps."""
        if is_reached is True or self.is_recorded is False:
            return self
        return replace(self, is_recorded=is_reached)


@dataclass(slots=True, eq=False)
class SDKType:
    """A class of objects of an SDK: a client, a session, a chain."""

    name: str
    #: Its own name, and those of the types that it is like.
    family: frozenset[str]
    provider: str
    transport: str
    #: Path of attributes → kind of the call. "()" is a call of the object itself.
    calls: dict[str, str]
    #: Methods whose result is of the same type.
    keeps: frozenset[str]
    #: Attribute → its type.
    attributes: dict[str, str]
    #: Method → type of its result.
    gives: dict[str, str]
    #: Usual names of variables for such an object.
    names: frozenset[str]
    #: Calls that count if the receiver is known only by such a name.
    named_calls: frozenset[str]
    #: Call → keywords, each of which proves the call on an unknown receiver.
    keywords: dict[str, tuple[str, ...]]
    #: The type of `it | other`. "": it can be piped, but is not a model. None: it cannot be piped.
    pipes: str | None
    #: A type that an argument of the constructor must have: the embedding model of a store.
    needs: str
    #: It runs in the process itself and sends no request.
    is_local: bool
    #: The type of the object if an argument of the constructor is a model: a parallel of chains.
    gathers: str
    #: Methods that add parts. It calls a model only if a part does; a function is a site itself.
    parts: frozenset[str]
    #: What is known about the requests of its calls.
    requests: Requests

    def target(self, call: str) -> Target:
        """Return what one of its calls requests."""
        return Target(self.calls[call], self.provider, self.transport, self.requests.of(call))


@dataclass
class Catalog:
    """All providers and their SDKs."""

    #: Changes with the content of the data files.
    digest: str
    #: What the site tracks.
    tracking: Tracking = DEFAULT
    #: Name → type.
    types: dict[str, SDKType] = field(default_factory=dict)
    #: Path of attributes that only one provider's SDK has → what it requests.
    unmistakable: dict[str, Target] = field(default_factory=dict)
    #: Host name or pattern → provider.
    hosts: dict[str, str] = field(default_factory=dict)
    #: "package:Name" of a function or class that sends HTTP → its transport.
    http_clients: dict[str, str] = field(default_factory=dict)
    # End of a URL's path → kind: on any host, on a provider's host, on an Ollama server.
    paths: dict[str, str] = field(default_factory=dict)
    host_paths: dict[str, str] = field(default_factory=dict)
    ollama_paths: dict[str, str] = field(default_factory=dict)
    #: Part of a URL's path → kind, on a provider's host.
    host_parts: dict[str, str] = field(default_factory=dict)
    #: Paths of servers of one's own: (end, kind, sets of keys of which a body has one).
    own_paths: list[tuple[str, str, tuple[frozenset[str], ...]]] = field(default_factory=list)
    #: Hosts, and words in hosts and paths, of services that are no models.
    other_hosts: tuple[str, ...] = ()
    other_words: set[str] = field(default_factory=set)
    # Ends and parts of paths that call no model.
    not_path_ends: tuple[str, ...] = ()
    not_path_parts: tuple[str, ...] = ()
    #: Words in files that mention AI.
    marks: set[str] = field(default_factory=set)
    #: Import names of AI libraries.
    packages: set[str] = field(default_factory=set)
    #: (methods, values, type): `client("bedrock-runtime")`.
    made_with: list[tuple[frozenset[str], frozenset[str], str]] = field(default_factory=list)
    makers: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    functions: dict[str, list[tuple[str, Target]]] = field(default_factory=dict)
    decorators: dict[str, list[tuple[str, Target]]] = field(default_factory=dict)
    # Answers to the questions below.
    _made: dict[str, str | None] = field(default_factory=dict)
    _called: dict[str, Target | None] = field(default_factory=dict)
    _decorated: dict[str, Target | None] = field(default_factory=dict)
    _clients: dict[str, str | None] = field(default_factory=dict)
    _about_ai: dict[str, bool] = field(default_factory=dict)

    def type_made_by(self, dotted: str) -> str | None:
        """Return the type of the result of `dotted()`, None if `dotted` makes no AI object."""
        if dotted not in self._made:
            self._made[dotted] = next(self._matches(dotted, self.makers), None)
        return self._made[dotted]

    def function(self, dotted: str) -> Target | None:
        """Return what `dotted()` requests, None if it calls no model."""
        if dotted not in self._called:
            self._called[dotted] = next(self._matches(dotted, self.functions), None)
        return self._called[dotted]

    def decorator(self, dotted: str) -> Target | None:
        """Return what a function requests that `dotted` decorates, None for other decorators."""
        if dotted not in self._decorated:
            self._decorated[dotted] = next(self._matches(dotted, self.decorators), None)
        return self._decorated[dotted]

    def http_client(self, dotted: str) -> str | None:
        """Return the transport of a function or class that sends HTTP, None for others."""
        if dotted not in self._clients:
            found = None
            for pattern, transport in self.http_clients.items():
                package, _, leaf = pattern.partition(":")
                if dotted.endswith("." + leaf) and dotted.startswith(package.partition(".")[0]):
                    found = transport
            self._clients[dotted] = found
        return self._clients[dotted]

    def sends_http(self, imports: Imports) -> bool:
        """Return whether any of the imports of a file is of an HTTP library."""
        return any(
            not level
            and self._http_packages.intersection((dotted, *(f"{dotted}.{n}" for n in names)))
            for dotted, level, names in imports.modules
        )

    @cached_property
    def _http_packages(self) -> frozenset[str]:
        return frozenset(name.partition(":")[0] for name in self.http_clients)

    @cached_property
    def libraries(self) -> frozenset[str]:
        """The import names of all libraries that the data files describe."""
        return self._http_packages | self.packages

    def names_of(self, package: str) -> frozenset[str]:
        """Return the names of classes and functions that a package is known to have."""
        known = (*self.makers.get(package, ()), *self.functions.get(package, ()))
        return frozenset(
            name for leaf, _ in known for name in leaf.split(".")[:1] if name.isidentifier()
        )

    def is_about_ai(self, dotted: str) -> bool:
        """Return whether a library belongs to an AI provider or framework."""
        if dotted not in self._about_ai:
            self._about_ai[dotted] = _within(dotted, self.packages)
        return self._about_ai[dotted]

    def target_of(self, type_name: str, call: str) -> Target | None:
        """Return what `call` on an object of a type requests, None if it calls no model."""
        known = self.types[type_name]
        if call in known.calls:
            return known.target(call)
        shape = call
        while shape not in self.unmistakable:
            _, dot, shape = shape.partition(".")
            if not dot:
                return None
        of_shape = self.unmistakable[shape]
        is_recorded = known.requests.of(call, otherwise=of_shape.is_recorded)
        return Target(of_shape.kind, known.provider, known.transport, is_recorded)

    @cached_property
    def methods(self) -> frozenset[str]:
        """The last names of all calls that may be a site."""
        names = {path.rpartition(".")[2] for path in self.unmistakable}
        for known in self.types.values():
            names |= {path.rpartition(".")[2] for path in known.calls}
        for entries in self.functions.values():
            names |= {leaf.rpartition(".")[2] for leaf, _ in entries}
        return frozenset(names)

    @cached_property
    def decorator_names(self) -> frozenset[str]:
        """The last names of all decorators that turn a function into a request."""
        entries = [leaf for each in self.decorators.values() for leaf, _ in each]
        return frozenset(leaf.rpartition(".")[2] for leaf in entries)

    @cached_property
    def shapes(self) -> dict[tuple[str, ...], Target]:
        """The unmistakable paths, as tuples of names."""
        return {tuple(path.split(".")): target for path, target in self.unmistakable.items()}

    @cached_property
    def longest_shape(self) -> int:
        """The number of names in the longest unmistakable path."""
        return max(map(len, self.shapes))

    def provider_of(self, host: str) -> str | None:
        """Return the provider behind a host name, None for an unknown host."""
        if host in self.hosts:
            return self.hosts[host]
        return next(
            (
                name
                for known, name in self.hosts.items()
                if "*" in known and fnmatchcase(host, known)
            ),
            None,
        )

    def types_named(self, name: str) -> tuple[SDKType, ...]:
        """Return the types whose objects variables of this name usually hold."""
        return self._types_by_variable.get(name.strip("_").lower(), ())

    @cached_property
    def _types_by_variable(self) -> dict[str, tuple[SDKType, ...]]:
        found: dict[str, tuple[SDKType, ...]] = {}
        for known in self.types.values():
            for name in known.names:
                found[name] = (*found.get(name, ()), known)
        return found

    def _matches(self, dotted: str, table: dict[str, list[tuple[str, Any]]]) -> Iterator[Any]:
        exact, globs = [], []
        for package, entries in table.items():
            rest = _rest(dotted, package)
            if rest is None:
                continue
            for leaf, result in entries:
                if "*" not in leaf:
                    if rest == leaf or rest.endswith("." + leaf):
                        exact.append(result)
                elif _fits(rest, leaf):
                    globs.append(result)
        yield from exact
        yield from globs


def _fits(rest: str, leaf: str) -> bool:
    parts = leaf.count(".") + 1
    return fnmatchcase(".".join(rest.split(".")[-parts:]), leaf)


def _rest(dotted: str, package: str) -> str | None:
    """Return what follows the package in a dotted name, None if the package is another."""
    if "*" in package:
        head, rest = _split_like(dotted, package)
        return rest if rest and fnmatchcase(head, package) else None
    return dotted[len(package) + 1 :] if dotted.startswith(package + ".") else None


def _split_like(dotted: str, package: str) -> tuple[str, str]:
    """Return the first parts of a dotted name, as many as a package has, and the rest."""
    parts, number = dotted.split("."), package.count(".") + 1
    return ".".join(parts[:number]), ".".join(parts[number:])


def _within(dotted: str, packages: Iterable[str]) -> bool:
    for package in packages:
        if "*" in package:
            if fnmatchcase(_split_like(dotted, package)[0], package):
                return True
        elif dotted == package or dotted.startswith(package + "."):
            return True
    return False
