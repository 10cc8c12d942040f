"""`--diff`: the patch applies, changes nothing else, and covers what it says."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.scanner.trees import write_tree
from tests.support.children import ROOT
from usage_tracking.scanner import Options, Report, scan
from usage_tracking.scanner import __main__ as scanner
from usage_tracking.scanner.fixes.patches import Patch, propose

pytestmark = pytest.mark.process

CORPUS = Path(__file__).parent / "corpus"
IMPORT = "from openai import OpenAI\n\nclient = OpenAI()\n\n\n"
ASK = "client.chat.completions.create(model='m', messages=[])"


def patch_of(root: Path, **options: object) -> tuple[Report, Patch]:
    report = scan(Options(paths=(str(root),)))
    return report, propose(report, (str(root),), **options)  # type: ignore[arg-type]


def apply(root: Path, patch: Patch) -> None:
    ran = subprocess.run(
        ["git", "apply", "-p1", "--whitespace=nowarn", "-"],
        input=patch.diff,
        cwd=root,
        capture_output=True,
        check=False,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "GIT_CEILING_DIRECTORIES": str(root.parent)},
    )
    assert ran.returncode == 0, ran.stderr.decode()


class _WithoutOurs(ast.NodeTransformer):
    """Removes the imports, decorators and blocks of ai_usage."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        node.names = [each for each in node.names if each.name != "ai_usage"]
        return node if node.names else None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = [
            each for each in node.decorator_list if "usage(section=" not in ast.unparse(each)
        ]
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_With(self, node: ast.With) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.body if "usage(section=" in ast.unparse(node.items[0]) else node

    visit_AsyncWith = visit_With  # type: ignore[assignment]


def meaning(data: bytes) -> str:
    return ast.dump(_WithoutOurs().visit(ast.parse(data)))


def applied(root: Path, code: str | bytes) -> bytes:
    """Return a file after its patch; a second patch is empty, and nothing else has changed."""
    file = root / "app" / "views.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    before = code if isinstance(code, bytes) else code.encode()
    file.write_bytes(before)
    _, patch = patch_of(root)
    assert patch.covered
    assert not patch.left, patch.left
    apply(root, patch)
    after = file.read_bytes()
    assert meaning(after) == meaning(before)
    report, second = patch_of(root)
    assert {finding.status for finding in report.findings} == {"covered"}, after.decode()
    assert second.diff == b""
    return after


@pytest.mark.parametrize("tree", [CORPUS, ROOT / "project"], ids=["corpus", "demo"])
def test_patch_of_a_tree(tmp_path, tree):
    root = tmp_path / "tree"
    shutil.copytree(tree, root, ignore=shutil.ignore_patterns("__pycache__"))
    before = {file: file.read_bytes() for file in root.rglob("*.py")}
    report, patch = patch_of(root)
    apply(root, patch)
    again, second = patch_of(root)

    assert len(patch.covered) + len(patch.left) == sum(each.is_open for each in report.findings)
    assert {finding.status for finding, _ in patch.left if finding.block} <= {
        "invisible",
        "unknown",
    }
    still_open = Counter(each.fingerprint for each in again.findings if each.is_open)
    assert not still_open - Counter(finding.fingerprint for finding, _ in patch.left)
    assert (second.diff, second.covered) == (b"", ())
    for file, data in before.items():
        assert meaning(file.read_bytes()) == meaning(data), file


def test_nothing_is_written(tmp_path, capfdbinary, monkeypatch):
    write_tree(tmp_path, {"shop/views.py": f"{IMPORT}def chat(request):\n    {ASK}\n"})
    monkeypatch.chdir(tmp_path)
    code = scanner.main(["shop", "--no-cache", "--diff"])
    out, err = capfdbinary.readouterr()

    assert code == 1
    assert out.decode() == (
        "--- a/views.py\n"
        "+++ b/views.py\n"
        "@@ -1,8 +1,10 @@\n"
        " from openai import OpenAI\n"
        "+from usage_tracking import ai_usage\n"
        " \n"
        " client = OpenAI()\n"
        " \n"
        " \n"
        '+@ai_usage(section="chat")\n'
        " def chat(request):\n"
        f"     {ASK}\n"
    ).replace("@@ -1,8 +1,10 @@", "@@ -1,7 +1,9 @@")
    assert err.decode() == (
        "The patch covers 1 call site. To apply it, run `patch -p1` or `git apply` in shop.\n"
        "Check these names, and add them to AI_USAGE_SECTIONS: chat.\n"
    )
    assert "ai_usage" not in (tmp_path / "shop" / "views.py").read_text()


DECORATED = [
    f"def chat(request):\n    {ASK}\n",
    f"async def chat(request):\n    await {ASK}\n",
    f"def chat(request):\n    '''Docs.'''\n    for part in {ASK}:\n        yield part\n",
    f"async def chat(request):\n    async for part in {ASK}:\n        yield part\n",
    f"@login_required\n@require_POST  # a comment\ndef chat(request): return {ASK}\n",
    f"@shared_task(bind=True)\ndef nightly(self):\n    {ASK}\n",
    f"class Chat(View):\n    '''Docs.'''\n\n    @staticmethod\n    def ask():\n        {ASK}\n",
    f"if True:\n\tclass Chat(View):\n\t\tasync def post(self, request):\n\t\t\tawait {ASK}\n",
    f"def outer():\n    def inner():\n        return {ASK}\n    return inner\n",
    f"def chat(\n    request,\n):\n    return {ASK}\n",
]


@pytest.mark.parametrize("code", DECORATED)
def test_functions_are_decorated(tmp_path, code):
    after = applied(tmp_path, IMPORT + code).decode()

    assert after.count("@ai_usage(section=") == 1
    (at,) = [n for n, line in enumerate(after.splitlines()) if "@ai_usage(" in line]
    below = after.splitlines()[at + 1]
    assert below.lstrip().startswith(("def ", "async def "))
    assert below[: len(below) - len(below.lstrip())] == after.splitlines()[at].partition("@")[0]


WRAPPED = [
    # a decorator that may read the function below it
    f"@tool\ndef chat(text):\n    '''Docs.'''\n    x = 1\n    return {ASK}\n",
    f"@tool\nasync def chat(text):\n    return await {ASK}\n",
    f"@router.post('/')\ndef chat(request):\n    text = '''a\n  b'''\n    return text, helper()\n"
    f"def helper():\n    return {ASK}\n",
    # a function that runs code with sections of its own
    f"def timed(view):\n    def inner(request):\n        if x:\n            {ASK}\n"
    "        return view(request)\n    return inner\n",
    f"class Notes:\n    def __call__(self, request):\n        {ASK}\n"
    "        return self.get_response(request)\n",
    "async def notes(request):\n    await ask()\n    return await self.get_response(request)\n"
    f"async def ask():\n    {ASK}\n",
    # a generator that another decorator may read calls the function
    f"class A:\n    @step\n    def ask(self):\n        return {ASK}\n\n"
    "    @step\n    def run(self):\n        yield self.ask()\n",
    # code of the module
    f"answer = {ASK}\n",
    f"answer = (\n    {ASK}\n)  # end\n{ASK}\n",
    f"if x:\n\tanswer = {ASK}\nelif y:\n\tpass\n",
    f"if x:\n    pass\nelif {ASK}:\n    pass\n",
    f"if x: {ASK}\n",
    f"text = f'''{{{ASK}}}\n  b\n'''\n",
    f"text = {ASK}, '''a\nb\n    c'''  # end\n",
    f"class A:\n    answer = {ASK}\n\n    def f(self, x={ASK}):\n        pass\n",
    f"for part in {ASK}:\n    print(part)\n    {ASK}\n",
    f"class Chat: answer = {ASK}\n",
    # a form feed begins the indentation anew
    f"\fanswer = {ASK}\n",
    f"if x:\n\f    answer = {ASK}\n",
    f"try:\n    {ASK}\nexcept ValueError:\n    {ASK}\nfinally:\n    pass\n",
]


@pytest.mark.parametrize("code", WRAPPED)
def test_statements_are_wrapped(tmp_path, code):
    after = applied(tmp_path, IMPORT + code).decode()

    assert "with ai_usage(section=" in after
    assert "@ai_usage" not in after


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-8-sig"])
def test_sections_are_written_in_the_encoding_of_the_file(tmp_path, encoding):
    coding = encoding.removesuffix("-sig")
    code = f"# coding: {coding}\n{IMPORT}def übersetzen(request):\n    return {ASK}\n"
    after = applied(tmp_path, code.encode(encoding)).decode(encoding)

    assert '@ai_usage(section="übersetzen")\n' in after


def test_section_that_the_encoding_of_the_file_lacks_is_escaped(tmp_path):
    code = f"# coding: ascii\n{IMPORT}{FUNCTION.replace('chat', 'main')}"
    write_tree(tmp_path, {"聊天.py": code})
    _, patch = patch_of(tmp_path)
    apply(tmp_path, patch)

    assert patch.sections == ("聊天",)
    (section,) = re.findall(rb"section=(.*)\)", (tmp_path / "聊天.py").read_bytes())
    assert ast.literal_eval(section.decode("ascii")) == "聊天"


def test_call_in_the_first_line(tmp_path):
    after = applied(tmp_path, "__import__('openai').responses.create(model='m')\nx = 1\n").decode()

    assert after.startswith("from usage_tracking import ai_usage\n\nwith ai_usage(")


def test_block_does_not_contain_the_code_that_a_function_was_given(tmp_path):
    code = f"def timed(view):\n    def inner(request):\n        {ASK}\n        view(request)\n"
    after = applied(tmp_path, IMPORT + code).decode()

    assert f"            {ASK}\n        view(request)\n" in after


def test_adjacent_statements_share_a_block(tmp_path):
    after = applied(tmp_path, f"{IMPORT}a = {ASK}\nb = {ASK}\nc = 1\nd = {ASK}\n").decode()

    assert after.count("with ai_usage") == 2


FUNCTION = f"def chat(request):\n    {ASK}\n"
BOM = b"\xef\xbb\xbf"
FORMATS = {
    "CRLF": (IMPORT + FUNCTION).replace("\n", "\r\n").encode(),
    "BOM": BOM + (IMPORT + FUNCTION).encode(),
    "BOM, no import": b"\xef\xbb\xbfdef chat(client: 'openai.OpenAI'):\n    "
    + ASK.encode()
    + b"\n",
    "latin-1": b"# coding: latin-1\n" + (IMPORT + FUNCTION).encode() + b"x = '\xe9'\n",
    "name with an umlaut": (IMPORT + FUNCTION.replace("chat", "übersetzen")).encode(),
    "latin-1, name with an umlaut": b"# coding: latin-1\n"
    + (IMPORT + FUNCTION.replace("chat", "übersetzen")).encode("latin-1"),
    "imported under a name with an umlaut": (
        f"from usage_tracking import ai_usage as größen_usage\n{IMPORT}{FUNCTION}".encode()
    ),
    "no newline at the end": (IMPORT + FUNCTION).encode().rstrip(b"\n"),
    "form feed": (IMPORT + "\f\n" + FUNCTION).encode(),
    "tabs": (IMPORT + FUNCTION).replace("    ", "\t").encode(),
    "docstring and future import": (
        b'#!/usr/bin/env python\n"""Docs."""\n\nfrom __future__ import annotations\n\n'
        + (IMPORT + FUNCTION).encode()
    ),
    "only a future import first": (
        b"from __future__ import annotations\n\nif True:\n    import openai as client\n\n\n"
        + FUNCTION.encode()
    ),
    "imports on one line": b"import os; from openai import OpenAI; client = (\n    OpenAI())\n"
    + FUNCTION.encode(),
    "import in parentheses": b"from openai import (\n    OpenAI,\n)\nclient = OpenAI()\n"
    + FUNCTION.encode(),
    "imported already": b"from usage_tracking import ai_section, ai_usage\n"
    + (IMPORT + FUNCTION).encode(),
    "imported under another name": b"from usage_tracking import ai_usage as usage\n"
    + (IMPORT + FUNCTION).encode(),
    "the package is imported": b"import usage_tracking\n" + (IMPORT + FUNCTION).encode(),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_other_byte_stays(tmp_path, name):
    before = FORMATS[name]
    after = applied(tmp_path, before)

    old, new = (
        [line for line in data.removeprefix(BOM).split(b"\n") if line.strip()]
        for data in (before, after)
    )
    added = [line for line in new if line not in old]
    assert [line for line in new if line not in added] == old
    assert before.startswith(BOM) == after.startswith(BOM)
    assert before.endswith(b"\n") == after.endswith(b"\n")
    assert before.count(b"\r\n") == 0 or after.count(b"\r\n") == after.count(b"\n")
    assert len(added) == 1 + (b"usage_tracking" not in before)


REFUSED = {
    'stability_sdk is not hooked; put the call into `with ai_usage(section="…") as usage:`, '
    "and call usage.record(response) in it": (
        "from stability_sdk.client import StabilityInference\n"
        "def chat(request):\n    StabilityInference().generate('x')\n"
    ),
    "the name ai_usage has another meaning in this file": f"{IMPORT}{FUNCTION}ai_usage = 1\n",
    "ai_usage is imported below it, at line 8": (
        f"{IMPORT}{FUNCTION}from usage_tracking import ai_usage\n"
    ),
    "it shares its line with another statement": f"{IMPORT}x = 1; {ASK}\n",
    "it is a generator below @tool, which may read it": (
        f"{IMPORT}@tool\ndef chat():\n    yield {ASK}\n"
    ),
    "captured, but it runs later than the code around it; "
    'move the call into a function decorated with @ai_usage(section="…")': (
        f"{IMPORT}urls = [path('ask/', lambda request: {ASK})]\n"
    ),
    "the file has carriage returns that end no line": f"x = 'a\\\rb'\n{IMPORT}{FUNCTION}",
}


KEPT = [
    f"def made():\n    return lambda text: {ASK}",
    "def made():\n    return partial(client.chat.completions.create, model='m')",
    f"ask = lambda text: {ASK}",
    f"class Chat:\n    ask = lambda self: {ASK}",
    f"tools = {{'ask': lambda text: {ASK}}}",
    "ask = partial(client.chat.completions.create, model='m')",
]


@pytest.mark.parametrize("code", KEPT)
def test_no_block_is_proposed_around_what_runs_later(tmp_path, monkeypatch, capfd, code):
    write_tree(tmp_path, {"a.py": f"{IMPORT}{code}\n"})
    monkeypatch.chdir(tmp_path)
    _, patch = patch_of(tmp_path)
    scanner.main([".", "--no-cache"])
    out = capfd.readouterr().out

    assert (patch.diff, patch.covered) == (b"", ())
    assert out.startswith("No block can be proposed  1 call site\n")
    assert 'fix: move the call into a function decorated with @ai_usage(section="…")\n' in out
    assert "wrap it" not in out


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_safe_is_listed_with_the_reason(tmp_path, reason):
    (tmp_path / "a.py").write_bytes(REFUSED[reason].encode())
    _, patch = patch_of(tmp_path)

    assert [why for _, why in patch.left] == [reason]
    assert patch.diff == b""


def test_file_that_cannot_be_parsed_is_listed(tmp_path):
    write_tree(tmp_path, {"a.py": f"{IMPORT}{FUNCTION}print 'x'\n"})
    _, patch = patch_of(tmp_path)

    ((_, why),) = patch.left
    assert why.startswith("the file cannot be parsed")


def test_one_refusal_does_not_stop_the_rest_of_the_file(tmp_path):
    write_tree(tmp_path, {"a.py": f"{IMPORT}{FUNCTION}\nx = 1; {ASK}\n"})
    _, patch = patch_of(tmp_path)
    apply(tmp_path, patch)

    assert (len(patch.covered), len(patch.left)) == (1, 1)
    assert [finding.status for finding in patch_of(tmp_path)[0].findings] == ["covered", "captured"]


def test_names_of_files_that_patches_quote(tmp_path):
    write_tree(tmp_path, {"a b/views.py": IMPORT + FUNCTION, 'c"d/views.py': IMPORT + FUNCTION})
    _, patch = patch_of(tmp_path)
    apply(tmp_path, patch)

    assert b"--- a/a b/views.py\t\n" in patch.diff
    assert [why for _, why in patch.left] == ["its path has characters that patches cannot hold"]


@pytest.mark.parametrize(
    ("path", "code", "sections", "section"),
    [
        ("shop/views.py", FUNCTION, {}, "chat"),
        ("shop/views.py", FUNCTION, {"chat", "search"}, "chat"),
        ("shop/views.py", FUNCTION.replace("chat", "product_search_view"), {"search"}, "search"),
        ("shop/views.py", FUNCTION.replace("chat", "product_search_view"), {}, "product_search"),
        ("shop/views.py", FUNCTION.replace("chat", "view"), {}, "shop"),
        ("search/services.py", FUNCTION.replace("chat", "main"), {"search", "x"}, "search"),
        (
            "shop/views.py",
            f"class AskAPIView(View):\n    def post(self, request):\n        {ASK}\n",
            {"other"},
            "ask",
        ),
        (
            "shop/management/commands/fill_texts.py",
            f"class Command(BaseCommand):\n    def handle(self):\n        {ASK}\n",
            {},
            "fill_texts",
        ),
    ],
)
def test_proposed_section(tmp_path, path, code, sections, section):
    write_tree(tmp_path, {path: IMPORT + code})

    assert patch_of(tmp_path, sections=sections)[1].sections == (section,)


def test_sites_of_the_baseline_are_left_out(tmp_path, monkeypatch, capfdbinary):
    write_tree(tmp_path, {"a.py": IMPORT + FUNCTION})
    monkeypatch.chdir(tmp_path)
    scanner.main([".", "--no-cache", "--write-baseline", "old.json"])
    capfdbinary.readouterr()
    code = scanner.main([".", "--no-cache", "--baseline", "old.json", "--diff"])

    assert (code, *capfdbinary.readouterr()) == (0, b"", b"")


def test_patch_in_a_file(tmp_path, monkeypatch, capfdbinary):
    write_tree(tmp_path, {"a.py": IMPORT + FUNCTION})
    monkeypatch.chdir(tmp_path)
    scanner.main(["a.py", "--no-cache", "--diff", "--output", "x.patch", "-v", "0"])

    assert capfdbinary.readouterr() == (b"", b"")
    assert (tmp_path / "x.patch").read_bytes().startswith(b"--- a/a.py\n")


def test_other_formats_have_no_patch(tmp_path, capsys):
    assert scanner.main([str(tmp_path), "--diff", "--format", "json"]) == 2
    assert capsys.readouterr().err == "--diff prints a patch; remove --format json.\n"
