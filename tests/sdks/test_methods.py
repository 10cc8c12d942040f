"""The lists in `tests/sdks/methods/` name every method of the installed SDKs, and no other."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from tests.sdks import method_list
from tests.sdks.introspection import SDKS, requests_of

#: Releases older than those of the lists, which lack methods or send them elsewhere.
OLD = {"openai": "2."}


def is_installed(sdk: str) -> bool:
    try:
        version(sdk)
    except PackageNotFoundError:
        return False
    return True


@pytest.mark.parametrize("sdk", [sdk for sdk in SDKS if is_installed(sdk)])
def test_list_has_the_methods_of_the_sdk(sdk: str) -> None:
    listed: dict[str, set[str]] = {}
    for method in method_list.load(sdk):
        listed.setdefault(method.name, set()).update(method.requests)
    found = requests_of(sdk)

    if sdk in OLD and version(sdk).startswith(OLD[sdk]):
        requests = {request for each in listed.values() for request in each}
        assert {name for name in found.keys() - listed.keys() if found[name] - requests} == set()
        return
    assert {name: found[name] for name in found.keys() - listed.keys()} == {}, "not in the list"
    assert listed.keys() - found.keys() == set(), "not in the SDK"
    # A list may have examples where the source does not say what is sent.
    assert {name: sent for name, sent in found.items() if sent and sent != listed[name]} == {}
