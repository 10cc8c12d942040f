"""How a finding says what it is known by, and that one request is one finding."""

from __future__ import annotations

from .trees import only_finding, scan_tree


def test_client_of_a_package_that_is_not_in_the_scan(tmp_path):
    found = only_finding(
        tmp_path,
        """
        from corp_llm import get_model

        def ask(messages):
            answering = get_model("small")
            return answering.generate(messages=messages)
        """,
    )

    assert found.reason == "get_model() is not in the scan; .generate(messages=…)"
    assert (found.confidence, found.kind, found.status) == ("likely", "chat", "unknown")


def test_parameter_that_is_named_like_a_model(tmp_path):
    found = only_finding(tmp_path, "def ask(llm, text):\n    return llm.generate(prompt=text)\n")

    assert found.reason == "the name llm; .generate(prompt=…)"
    assert found.confidence == "name only"


def test_decorated_function_names_its_decorator(tmp_path):
    found = only_finding(
        tmp_path,
        """
        from magentic import prompt as ask_model

        @ask_model("Title of {text}")
        def title(text: str) -> str: ...

        def view(request):
            return title(request.POST["text"])
        """,
    )

    assert found.reason.startswith("@ask_model decorates it in ")
    assert found.line == 7


def test_method_of_a_class_of_the_project_is_no_request_itself(tmp_path):
    found = only_finding(
        tmp_path,
        """
        from openai import OpenAI

        class Model:
            def generate(self, messages):
                return OpenAI().chat.completions.create(model="m", messages=messages)

        def ask(llm, messages):
            return llm.generate(messages=messages)
        """,
    )

    assert found.call.endswith("chat.completions.create")


def test_graph_of_functions_is_not_counted_beside_its_nodes(tmp_path):
    found = only_finding(
        tmp_path,
        """
        from langchain_openai import ChatOpenAI
        from langgraph.graph import START, StateGraph

        def node(state):
            return ChatOpenAI().invoke(state)

        graph = StateGraph(dict)
        graph.add_node("node", node)
        app = graph.compile()

        def view(request):
            return app.invoke({"messages": [request.POST["text"]]})
        """,
    )

    assert found.line == 5


def test_graph_with_parts_of_unknown_code_is_a_site(tmp_path):
    found = only_finding(
        tmp_path,
        """
        from elsewhere import node
        from langgraph.graph import StateGraph

        graph = StateGraph(dict)
        graph.add_node("node", node)

        def view(request):
            return graph.compile().invoke({"messages": [request.POST["text"]]})
        """,
    )

    assert found.kind == "agent"


def test_unknown_object_is_no_caller_because_of_its_method_name(tmp_path):
    report = scan_tree(
        tmp_path,
        {
            "app/views.py": """
            def view(request):
                search = request.search
                search.execute()
            """,
            "app/translate.py": """
            from openai import OpenAI

            class Translation:
                def execute(self):
                    return OpenAI().responses.create(model="m", input="x")
            """,
        },
    )

    assert [found.entry_points for found in report.findings] == [()]
