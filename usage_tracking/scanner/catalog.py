"""What is known about SDKs, read from `providers/*.toml`; a site can add its own files."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from .. import providers
from .facts import Imports
from .recorded_urls import DEFAULT, Requests, Tracking

PROVIDERS = Path(__file__).parent / "providers"


#: A part of a path in AI_USAGE_PATHS that stands for anything.
_VARIABLE = re.compile(r"\{\*?\}")


class CatalogError(ValueError):
    """A data file cannot be used; the message names it."""


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
    _makers: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _functions: dict[str, list[tuple[str, Target]]] = field(default_factory=dict)
    _decorators: dict[str, list[tuple[str, Target]]] = field(default_factory=dict)
    # Answers to the questions below.
    _made: dict[str, str | None] = field(default_factory=dict)
    _called: dict[str, Target | None] = field(default_factory=dict)
    _decorated: dict[str, Target | None] = field(default_factory=dict)
    _clients: dict[str, str | None] = field(default_factory=dict)
    _about_ai: dict[str, bool] = field(default_factory=dict)

    def type_made_by(self, dotted: str) -> str | None:
        """Return the type of the result of `dotted()`, None if `dotted` makes no AI object."""
        if dotted not in self._made:
            self._made[dotted] = next(self._matches(dotted, self._makers), None)
        return self._made[dotted]

    def function(self, dotted: str) -> Target | None:
        """Return what `dotted()` requests, None if it calls no model."""
        if dotted not in self._called:
            self._called[dotted] = next(self._matches(dotted, self._functions), None)
        return self._called[dotted]

    def decorator(self, dotted: str) -> Target | None:
        """Return what a function requests that `dotted` decorates, None for other decorators."""
        if dotted not in self._decorated:
            self._decorated[dotted] = next(self._matches(dotted, self._decorators), None)
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
        known = (*self._makers.get(package, ()), *self._functions.get(package, ()))
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
        for entries in self._functions.values():
            names |= {leaf.rpartition(".")[2] for leaf, _ in entries}
        return frozenset(names)

    @cached_property
    def decorator_names(self) -> frozenset[str]:
        """The last names of all decorators that turn a function into a request."""
        entries = [leaf for each in self._decorators.values() for leaf, _ in each]
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


@cache
def load(extra: tuple[str, ...] = (), tracking: Tracking = DEFAULT) -> Catalog:
    """Return the catalog of this package, extended by `extra` files or directories.

    `tracking` decides which requests count as recorded, and adds the paths of the site.

    Raises:
        CatalogError: A file cannot be read or has an unknown key.
    """
    files = sorted(PROVIDERS.glob("*.toml"))
    for name in extra:
        path = Path(name)
        if path.is_dir():
            files += sorted(path.glob("*.toml"))
        elif path.is_file():
            files.append(path)
        else:
            raise CatalogError(f"{name} is neither a file nor a directory")
    digest = hashlib.sha256(providers.PATH.read_bytes())
    digest.update(repr(tracking.paths).encode())
    catalog = Catalog("", tracking, hosts=dict(providers.HOSTS))
    for ending, _ in tracking.paths:
        catalog.marks.add(max(_VARIABLE.split(ending), key=len).strip("/"))
    for path in files:
        try:
            data = path.read_bytes()
            entry = tomllib.loads(data.decode())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise CatalogError(f"{path}: {error}") from error
        digest.update(data)
        _add(catalog, entry, path)
    catalog.digest = digest.hexdigest()
    for known in catalog.types.values():
        for name in (
            *known.attributes.values(),
            *known.gives.values(),
            known.pipes or "",
            known.gathers,
        ):
            if name and name not in catalog.types:
                raise CatalogError(f"the type {known.name} names {name}, which is not a type")
    return catalog


_KEYS = {
    *("provider", "transport", "imports", "marks", "hosts", "unmistakable", "functions", "type"),
    *("providers", "clients", "paths", "host_paths", "ollama_paths", "not_paths", "decorators"),
    *("urls", "unrecorded", "uncertain", "own_paths", "host_parts", "other_services"),
}
_TYPE_KEYS = {
    *("name", "provider", "transport", "made_by", "made_with", "keeps", "attributes", "gives"),
    *("names", "named_calls", "keywords", "pipes", "needs", "calls", "is_local"),
    *("like", "urls", "unrecorded", "uncertain", "gathers", "parts"),
}
#: What a type does not have in common with the type that it is like.
_OWN_KEYS = {"name", "made_by", "made_with", "names"}


def _add(catalog: Catalog, entry: dict[str, Any], path: Path) -> None:
    _check(set(entry), _KEYS, path)
    provider, transport = entry.get("provider", path.stem), entry.get("transport", "httpx")
    catalog.packages.update(entry.get("imports", ()))
    catalog.marks.update(entry.get("marks", ()))
    catalog.hosts |= dict.fromkeys(entry.get("hosts", ()), provider)
    catalog.hosts |= entry.get("providers", {})
    requests = Requests.read(entry, catalog.tracking)
    for shape, kind in entry.get("unmistakable", {}).items():
        catalog.unmistakable[shape] = Target(kind, provider, transport, requests.of(shape))
    for key, table in (("functions", catalog._functions), ("decorators", catalog._decorators)):
        for name, kind in entry.get(key, {}).items():
            package, leaf = _split(name, path)
            target = Target(kind, provider, transport, requests.of(leaf))
            table.setdefault(package, []).append((leaf, target))
    catalog.http_clients |= entry.get("clients", {})
    catalog.paths |= entry.get("paths", {})
    catalog.host_paths |= entry.get("host_paths", {})
    catalog.host_parts |= entry.get("host_parts", {})
    catalog.ollama_paths |= entry.get("ollama_paths", {})
    for kind, known in entry.get("own_paths", {}).items():
        bodies = tuple(frozenset(keys.split()) for keys in known["bodies"])
        catalog.own_paths += [(end, kind, bodies) for end in known["ends"]]
    catalog.other_hosts += tuple(entry.get("other_services", {}).get("hosts", ()))
    catalog.other_words.update(entry.get("other_services", {}).get("words", ()))
    catalog.not_path_ends += tuple(entry.get("not_paths", {}).get("ends", ()))
    catalog.not_path_parts += tuple(entry.get("not_paths", {}).get("contains", ()))
    shared = {"provider": provider, "transport": transport}
    given: dict[str, dict[str, Any]] = {}
    families: dict[str, frozenset[str]] = {}
    for own in entry.get("type", ()):
        _check(set(own), _TYPE_KEYS, path)
        if "name" not in own:
            raise CatalogError(f"{path}: a type has no name")
        like = own.get("like", "")
        if like and like not in given:
            raise CatalogError(f"{path}: no type {like!r} before the type {own['name']}")
        base = {key: value for key, value in given.get(like, {}).items() if key not in _OWN_KEYS}
        given[own["name"]] = shared | base | own
        families[own["name"]] = frozenset({own["name"]}) | families.get(like, frozenset())
    for known in given.values():
        made = _type(known, families[known["name"]], requests, catalog.tracking)
        catalog.types[made.name] = made
        for maker in known.get("made_by", ()):
            package, leaf = _split(maker, path)
            catalog._makers.setdefault(package, []).append((leaf, made.name))
        if "made_with" in known:
            catalog.made_with.append(
                (
                    frozenset(known["made_with"]["methods"]),
                    frozenset(known["made_with"]["values"]),
                    made.name,
                )
            )


def _type(
    known: dict[str, Any], family: frozenset[str], requests: Requests, tracking: Tracking
) -> SDKType:
    return SDKType(
        name=known["name"],
        family=family,
        provider=known["provider"],
        transport=known["transport"],
        calls=known.get("calls", {}),
        keeps=frozenset(known.get("keeps", ())),
        attributes=known.get("attributes", {}),
        gives=known.get("gives", {}),
        names=frozenset(known.get("names", ())),
        named_calls=frozenset(known.get("named_calls", known.get("calls", {}))),
        keywords={call: tuple(words) for call, words in known.get("keywords", {}).items()},
        pipes=known.get("pipes"),
        needs=known.get("needs", ""),
        is_local=known.get("is_local", False),
        gathers=known.get("gathers", ""),
        parts=frozenset(known.get("parts", ())),
        requests=Requests.read(known, tracking, requests),
    )


def _split(name: str, path: Path) -> tuple[str, str]:
    package, colon, leaf = name.partition(":")
    if not colon or not leaf:
        raise CatalogError(f"{path}: {name!r} is not of the form package:Name")
    return package, leaf


def _check(keys: set[str], known: Sequence[str] | set[str], path: Path) -> None:
    if unknown := sorted(keys - set(known)):
        raise CatalogError(f"{path}: unknown key {unknown[0]!r}")
