"""Signs of AI in the code of a file."""

from __future__ import annotations

import ast
from textwrap import indent

import pytest

from usage_tracking.scanner import data_files
from usage_tracking.scanner.facts import SourceFile
from usage_tracking.scanner.reading.parsing import parse
from usage_tracking.scanner.reading.signs import Signs

CATALOG = data_files.load()
SIGNS = Signs(CATALOG)


def parsed(code: str | bytes) -> SourceFile:
    data = code.encode() if isinstance(code, str) else code
    return parse("a.py", data, whole=True, catalog=CATALOG, signs=SIGNS)


def lines_with_sign(code: str | bytes) -> list[int]:
    """The first lines of the statements of a module that have a sign."""
    return sorted({part.line for part in parsed(code).outline if part.has_sign})


@pytest.mark.parametrize(
    "code",
    [
        "LLMClient()",
        "myLLM = 1",
        "HTTPLLM()",
        "get_llm()",
        "llm2 = 1",
        "_llm = 1",
        "settings.DEFAULT_LLM",
        "chat.useGPT4()",
        "client.llm",
        "def f(llm): ...",
        "class Client(LLM): ...",
        "def f(): return [each for each in llms]",
        'model = "gpt-4o"',
        'NAMES = {"gpt": "通用", "claude": "é"}',
        'url = "https://api.openai.com/v1"',
        "client.generate_content(question)",
        "client.agenerate_content(question)",
        "chain.invoke(r)",
        "import openai",
        "from openai import OpenAI as Client",
        "def f():\n    import openai",
        "from usage_tracking import ai_usage",
        "@ai_section('x')\ndef f(request): ...",
        "x = '# llm'",
        "def make(): 'Make.'; return llm()",
        "openai_client = 1",
        "ChatModel()",
        "x = '''\nllm\n'''",
        "x = f'''\n{1}\nllm\n'''",
    ],
)
def test_sign(code):
    assert lines_with_sign(code) == [1]


@pytest.mark.parametrize(
    "code",
    [
        "",
        "fullmatch(r'x', 'y')",
        "unique_together = ('a', 'b')",
        "coherent = True",
        "enrollment = 1",
        "callme()",
        "Philanthropic()",
        "SmallModel()",
        "SMALLMODEL = 1",
        "chatllm_x = 1",
        "x.generate_contents()",
        "best.percent_coherence",
        'EMOJI = {"gemini": "\u264a"}',
        "# llm",
        "x = 1  # llm",
        "def f():\n    # llm\n    return 1",
        '"""llm"""',
        'def f():\n    """Ask the LLM.\n\n    gpt\n    """',
        'class Chat:\n    """llm"""\n    x = 1\n    "llm"',
    ],
)
def test_no_sign(code):
    assert lines_with_sign(code) == []


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("replicate_client = make()\nreplicate_client.close()", []),
        ("replicate_client = make()\nclient.run()", [1]),
        ("replicate_client = make()\nreplicate_client.run('m')", [1, 2]),
        # The whole path of a call counts.
        ("together_client = make()\ntogether_client.images.list()", []),
        ("together_client = make()\ntogether_client.images.generate()", [1, 2]),
        # Short names are too common.
        ("model = make()\nmodel.invoke('x')", [2]),
    ],
)
def test_usual_name_of_a_client_counts_with_one_of_its_methods(code, lines):
    assert lines_with_sign(code) == lines


RENDER = "from django.shortcuts import render\nfrom django.http import HttpResponse, JsonResponse\n"
#: Code whose only signs are words that other code uses too, and that asks a model.
ASKING = [
    'session.post(url, json={"prompt": text})',
    'post(URL, {"model": "m", "messages": [m]})',
    'body = {"inputs": text}\nsend(URL, body)',
    'body = {}\nbody["prompt"] = text\nreturn_of(send(URL, data=body))',
    'self.body["prompt"] = text\nsend(URL, data=self.body)',
    'body: dict = {"prompt": text}\nreturn call("/x", body)',
    'request(URL, data=json.dumps({"prompt": text}))',
    'batch([{"prompt": text} for text in texts])',
    'post(URL, {"input": {"prompt": text}})',
    'post(URL, **{"prompt": text})',
    'body = base | {"prompt": text}\npost(URL, body)',
    'post("/complete", {"text": text, "max_tokens": 5})',
    'print(post(URL, {"prompt": text}))',
    'images.render({"prompt": text})',
    'socket.send_json({"inputs": text})',
    'body |= {"prompt": text}\npost(URL, body)',
    "engine.run(text, max_tokens=5)",
    "ask(text, system_prompt=SYSTEM)",
    'post(URL, {"messages": build(text)})',
    "engine.run(text, max_tokens=max_tokens)",
    "engine.run(text, **dict(max_tokens=5))",
    "self.embedding.run(text)",
    "return embeddings(text)",
    "from corp.tools import get_embedding\nget_embedding(text)",
    "from corp.embedding import make\nmake(text)",
    "class Mine(corp.Embedding): ...",
]


@pytest.mark.parametrize("code", ASKING)
def test_doubtful_sign_of_code_that_asks(code):
    source = parsed(f"def ask(text):\n{indent(code, '    ')}")

    assert source.mentions_ai
    assert any(part.has_sign for part in source.outline)


@pytest.mark.parametrize(
    "code",
    [
        f"{RENDER}def room(request):\n    return render(request, 'a', {{'messages': rows}})",
        f"{RENDER}def room(request):\n    x = {{'documents': 1}}\n    render(request, 'a', x)",
        f"{RENDER}def room(request):\n    return JsonResponse({{'messages': list(rows)}})",
        f"{RENDER}def room(request):\n    return HttpResponse(json.dumps({{'messages': rows}}))",
        "from rest_framework.response import Response\n"
        "def room(request):\n    return Response(data={'prompt': text})",
        "def room(request):\n    return NoteSerializer(data={'documents': 1}).data",
        "class Chat(JsonWebsocketConsumer):\n    def f(self):\n"
        "        self.send_json({'messages': rows})",
        "class Tests(TestCase):\n    def test(self):\n"
        "        self.assertEqual(value, {'messages': []})",
        "def login(request):\n    return redirect(URL + urlencode({'prompt': 'consent'}))",
        "def f():\n    logger.info('x', {'prompt': 1})",
        'STYLES = {"prompt": Style.null(), "inputs": Style(bold=True)}',
        'FIELDS = {"text_input": " ".join(CLASSES)}',
        "text_input = wrap(stream)",
        "max_tokens = 5",
        "self._max_tokens = self._budget = None",
        "self._max_tokens = max_tokens",
        "def parse(source, max_tokens=None):\n    return Parser(source, max_tokens=max_tokens)",
        "def ask(enable_system_prompt=1):\n    ask(enable_system_prompt=enable_system_prompt)",
        "def ask(self, max_tokens):\n    self.parser.parse(self.x, max_tokens=max_tokens)",
        "class Row(models.Model):\n    embedding = VectorField()",
        "def embedding_api(self):\n    self._embedding = ''\n"
        "    self._patch_for_embedding(self._embedding)",
        "async def stream_async(self, action): ...",
    ],
)
def test_doubtful_sign_of_other_code(code):
    source = parsed(code)

    assert not source.mentions_ai
    assert not source.may_build_body
    assert source.is_about_ai


@pytest.mark.parametrize(
    "code",
    [
        'def body(text):\n    return {"inputs": text}',
        'def body(text):\n    return {"text": text, "max_tokens": 5}',
        'class Job:\n    def f(self):\n        self.body = {"prompt": 1}\n        g(self.name)',
        "class Job:\n    def fill(self, text):\n        self.body['prompt'] = text",
        'BODY = {"prompt": "Be brief."}',
        'DEFAULTS = {"prompt": "", "top_p": float(os.environ["TOP_P"])}',
        'BUILDERS = {"hf": lambda text: {"inputs": text}}',
        'FORM = validated({"prompt": str})',
        'print(gateway.infer({"inputs": line}))',
        "def body(text):\n    x = {'inputs': text}\n    logger.debug('%s', x)\n    return x",
        f"{RENDER}def body(text):\n    data = {{'prompt': text}}\n    return data\n"
        "def f(r):\n    data = {}\n    return HttpResponse(data)",
        'def get(self):\n    self._call(lambda result: {"messages": result["messages"]})',
        "def get_embedding(text):\n    return gateway.encode({'texts': [text]})",
        "def f(row):\n    row.embedding = gateway.encode(row.text)",
        "def f(row):\n    vectors = gateway.encode([row])\n    row.embedding = vectors[0]",
        "def f(row):\n    vector = gateway.encode([row])\n    rows.update(embedding=vector)",
        "def f(row):\n    vector = gateway.encode([row])\n    row.embedding = vector",
        "def f(text):\n    Chunk.objects.create(embedding=gateway.encode(text))",
        "for row, embedding in zip(rows, encode(rows)):\n    row.vector = embedding",
        "def embeddings_of(texts): ...",
        "class EmbeddingService: ...",
        "def f(text):\n    (body, n) = {'inputs': text}, 1\n    return body",
    ],
)
def test_what_may_be_the_body_of_a_request(code):
    source = parsed(code)

    assert not source.mentions_ai
    assert source.may_build_body


def test_doubtful_signs_count_in_code_that_sends_http():
    code = "import requests\n\ndef ask(text):\n    body = {}\n    body['max_tokens'] = 5\n"

    assert parsed(code).mentions_ai


def test_doubtful_signs_count_beside_others():
    assert lines_with_sign('STYLES = {"prompt": Style()}\nimport openai\n') == [1, 2]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(end):
    code = f"x = 1{end}y = 2{end}llm = 3{end}# llm{end}"

    assert lines_with_sign(code.encode()) == [3]


@pytest.mark.parametrize("text", ["\x0c", "\x0cy = 2", "y = 'a\u2028b\x85c'", "y = 'a\x1cb'"])
def test_characters_that_end_lines_only_elsewhere(text):
    assert lines_with_sign(f"x = 1\n{text}\nllm = 3\nz = 4\n") == [3]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        # "İ" has one character, and two in lower case.
        (f"# {'İ' * 40}\nx = 1\nllm = 2\ny = 3", [3]),
        (f"x = '{'İ' * 40}'; llm = 1\ny = 2", [1]),
        (f"x = {'İ' * 40} = llm\ny = 2", [1]),
        (f"x = 1  # {'İ' * 40} llm\ny = 2", []),
        ("straße = 1\nllm = 2", [2]),
    ],
)
def test_unicode_with_another_length_in_lower_case(code, lines):
    assert lines_with_sign(code) == lines


def test_file_with_a_byte_order_mark():
    assert lines_with_sign(b"\xef\xbb\xbfllm = 1\n") == [1]


def test_decorators_belong_to_their_statement():
    assert lines_with_sign("x = 1\n@with_llm\n@other\ndef f(): ...\n") == [2]


@pytest.mark.parametrize("host", ["ai.x", "*.ai", "*"])
def test_short_host_of_a_data_file(tmp_path, host):
    data = tmp_path / "acme.toml"
    data.write_text(f'hosts = ["{host}"]\n')

    signs = Signs(data_files.load((str(data),)))

    assert signs.find("client = openai", ast.parse("client = openai")).lines == {1}
