"""The data files about SDKs, `providers/*.toml`; a site can add its own."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .. import providers
from .catalog import Catalog, SDKType, Target
from .recorded_urls import DEFAULT, Requests, Tracking

PROVIDERS = Path(__file__).parent / "providers"

#: A part of a path in AI_USAGE_PATHS that stands for anything.
_VARIABLE = re.compile(r"\{\*?\}")


class CatalogError(ValueError):
    """A data file cannot be used; the message names it."""


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
    for key, table in (("functions", catalog.functions), ("decorators", catalog.decorators)):
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
            catalog.makers.setdefault(package, []).append((leaf, made.name))
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
