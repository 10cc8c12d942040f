from langchain_openai import ChatOpenAI
from langgraph.graph import END, StateGraph
from langgraph.prebuilt import ToolNode, create_react_agent

from .llms import build

llm = build("anthropic")
tools = []
tool_node = ToolNode(tools)


def node(state):
    return {"messages": [llm.invoke(state["messages"])]}  #: site langchain chat


def tools_node(state):
    return tool_node.invoke(state)  #: not


def build_graph():
    graph = StateGraph(dict)
    graph.add_node("node", node)
    graph.add_edge("node", END)
    return graph.compile()


app = build_graph()


def run(text):
    result = app.invoke({"messages": [text]})  #: not
    agent = create_react_agent(ChatOpenAI(), tools)
    for step in agent.stream({"messages": []}):  #: site langchain agent
        print(step)
    return result


def view(request):
    return run(request.POST["x"])  #: not
