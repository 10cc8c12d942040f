"""Which methods of the installed SDKs send a request, from the source of the SDKs themselves."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

#: Method → its requests, such as "POST /chat/completions"; none if the source does not say.
Requests = dict[str, set[str]]

# How the generators of SDKs write a request.
_STAINLESS = re.compile(
    r"self\._(?P<verb>get_api_list|get|post|put|patch|delete)[(,]"
    r'\s*(?:path_template\(\s*)?f?"(?P<path>/[^"]*)"(?:[^;]*?method="(?P<other>\w+)")?'
)
_SPEAKEASY = re.compile(r'method="(?P<verb>[A-Z]+)",\s*path="(?P<path>[^"]+)"')
_FERN = re.compile(r'(?:request|stream)\(\s*f?"(?P<path>[^"]+)",[^;]*?method="(?P<verb>\w+)"')
_OLLAMA = re.compile(r"""['"](?P<verb>[A-Z]+)['"],\s*f?'(?P<path>[^']+)'""")
_GENAI_PATH = re.compile(r"path = '([^']+)'")
_GENAI_VERB = re.compile(r"request(?:_streamed)?\(\s*'(\w+)'")
#: Attributes of clients that lead to another way of calling the same, or back.
_SAME = ("with_", "aio", "parent_ref", "sdk_configuration", "vertex", "chats")
#: Private attributes that send what the methods of a client ask for.
_BEHIND = {"_raw_client", "_nextgen_client"}

#: The services of AWS whose calls are those of a model.
AWS = ("bedrock-runtime", "bedrock-agent-runtime", "sagemaker-runtime")


def requests_of(sdk: str) -> Requests:
    """Return the methods of an installed SDK that send a request.

    Raises:
        ImportError: The SDK is not installed.
    """
    return SDKS[sdk]()


def _walked(
    client: object, read: Callable[[str], set[str]], prefix: str = "", within: tuple[type, ...] = ()
) -> Iterator[tuple[str, set[str]]]:
    """Yield the methods of a client and of its resources whose source has a request."""
    kind = type(client)
    names = {*dir(kind), *vars(client), *getattr(client, "_sub_sdk_map", ())}
    for name in sorted(name for name in names if not name.startswith(("__", *_SAME))):
        member = getattr(client, name, None)
        if inspect.ismethod(member):
            if not name.endswith("_async") and (found := read(_source(member))):
                yield prefix + name.lstrip("_"), found
        elif _is_resource(name, member, kind) and type(member) not in within:
            inner = "" if name in _BEHIND else f"{name}."
            yield from _walked(member, read, prefix + inner, (*within, kind))


def _is_resource(name: str, member: object, parent: type) -> bool:
    package = parent.__module__.partition(".")[0]
    is_public = not name.startswith("_") or name in _BEHIND
    return is_public and type(member).__module__.startswith(f"{package}.")


def _source(method: Any) -> str:
    return inspect.getsource(inspect.unwrap(method))


def _matches(pattern: re.Pattern[str], source: str) -> set[str]:
    found = set()
    for match in pattern.finditer(source):
        verb = match.groupdict().get("other") or match["verb"].partition("_api_list")[0]
        path = re.sub(r"\{\w+\((\w+)\)\}", r"{\1}", match["path"])
        found.add(_request(verb, path))
    return found


def _request(verb: str, path: str) -> str:
    return f"{verb.upper()} {path if '://' in path else '/' + path.removeprefix('/')}"


def _stainless(package: str, client: str) -> Requests:
    made = getattr(importlib.import_module(package), client)(api_key="any")
    return dict(_walked(made, partial(_matches, _STAINLESS)))


def _mistral() -> Requests:
    from mistralai.client import Mistral

    return dict(_walked(Mistral(api_key="any"), partial(_matches, _SPEAKEASY)))


def _cohere() -> Requests:
    from cohere import Client

    return dict(_walked(Client(api_key="any"), partial(_matches, _FERN)))


def _google() -> Requests:
    from google import genai

    def read(source: str) -> set[str]:
        verb = _GENAI_VERB.search(source)
        # A path in two braces is formatted twice.
        paths = {re.sub(r"\{+(\w+)\}+", r"{\1}", path) for path in _GENAI_PATH.findall(source)}
        return _matches(_SPEAKEASY, source) | {_request(verb[1], path) for path in paths if verb}

    return dict(_walked(genai.Client(api_key="any"), read))


def _ollama() -> Requests:
    from ollama import Client

    return dict(_walked(Client(), partial(_matches, _OLLAMA)))


def _boto3() -> Requests:
    from botocore.session import Session

    found: Requests = {}
    for service in AWS:
        model = Session().get_service_model(service)
        for name in model.operation_names:
            http = model.operation_model(name).http
            method = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
            found[f"{service}.{method}"] = {f"{http['method']} {http['requestUri']}"}
    return found


def _hugging_face() -> Requests:
    from huggingface_hub import InferenceClient
    from huggingface_hub.inference._providers import PROVIDERS

    found: Requests = {}
    for name, method in inspect.getmembers(InferenceClient, inspect.isfunction):
        source = _source(method)
        if not name.startswith("_") and (task := re.search(r'task="([a-z-]+)"', source)):
            helpers = [tasks[task[1]] for tasks in PROVIDERS.values() if task[1] in tasks]
            urls = {helper._prepare_url("hf_any", "owner/model") for helper in helpers}
            found[name] = {f"POST {urlsplit(url).path}" for url in urls}
    return found


def _litellm() -> Requests:
    import litellm

    # Its decorator measures every function that sends a request, by whichever provider's API.
    names = {name for name, each in vars(litellm).items() if hasattr(each, "__wrapped__")}
    names = {name for name in names if not name.startswith("_")}
    return {name: set() for name in names if name[:1] != "a" or name[1:] not in names}


def _langchain() -> Requests:
    import langchain_openai

    names = langchain_openai.__all__
    return {name: set() for name in names if re.match("(Azure|Chat)?(Chat)?OpenAI", name)}


SDKS: dict[str, Callable[[], Requests]] = {
    "openai": partial(_stainless, "openai", "OpenAI"),
    "anthropic": partial(_stainless, "anthropic", "Anthropic"),
    "groq": partial(_stainless, "groq", "Groq"),
    "mistralai": _mistral,
    "cohere": _cohere,
    "google-genai": _google,
    "ollama": _ollama,
    "boto3": _boto3,
    "huggingface-hub": _hugging_face,
    "litellm": _litellm,
    "langchain-openai": _langchain,
}
