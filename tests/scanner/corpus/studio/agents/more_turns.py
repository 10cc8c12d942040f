"""Turns from services, tasks and classes that keep their agent."""

import dspy
from agents import Agent, RunConfig, Runner
from agno.agent import Agent as AgnoAgent
from agno.models.openai import OpenAIChat
from agno.team import Team
from autogen import AssistantAgent, ConversableAgent, GroupChat, GroupChatManager, UserProxyAgent
from celery import shared_task
from crewai import Agent as CrewAgent, Crew, LLM, Process, Task
from crewai.flow.flow import Flow, listen, start
from crewai.project import CrewBase, agent, crew, task
from google.adk.agents import LlmAgent
from google.adk.runners import Runner as AdkRunner
from google.adk.sessions import InMemorySessionService
from haystack import AsyncPipeline, Pipeline, component
from haystack.components.embedders import OpenAITextEmbedder, SentenceTransformersTextEmbedder
from haystack.components.generators import OpenAIGenerator
from haystack.components.builders import PromptBuilder
from langchain.agents import create_agent
from pydantic_ai import Agent as TypedAgent, RunContext
from smolagents import CodeAgent, InferenceClientModel, MultiStepAgent

from studio.web.models import Note


@CrewBase
class Newsroom:
    @agent
    def reporter(self) -> CrewAgent:
        return CrewAgent(role="reporter", goal="g", backstory="b")

    @task
    def report(self) -> Task:
        return Task(description="d", expected_output="e", agent=self.reporter())

    @crew
    def crew(self) -> Crew:
        return Crew(agents=[self.reporter()], tasks=[self.report()], process=Process.sequential)


@shared_task
def publish(topic):
    Newsroom().crew().kickoff(inputs={"topic": topic})  #: site agents agent
    Note.objects.create(text=topic)  #: not


class Edition(Flow):
    @start()
    def headline(self):
        return LLM(model="gpt-4o").call("A headline")  #: site agents chat

    @listen(headline)
    def body(self, headline):
        return CrewAgent(role="r", goal="g", backstory="b").kickoff(headline)  #: site agents agent


def edition():
    return Edition().kickoff()  #: not


class Concierge:
    def __init__(self, model="openai:gpt-4o"):
        self._agent = TypedAgent(model, deps_type=str)
        self._agent.tool(self.room)  #: not

    async def room(self, ctx: RunContext[str], number: int) -> str:
        return f"{ctx.deps} {number}"

    async def stream(self, text):
        async with self._agent.run_stream(text, deps="x") as result:  #: site agents agent
            async for part in result.stream_text(delta=True):  #: not
                yield part

    async def delegate(self, ctx: RunContext[str], text):
        return await self._agent.run(text, usage=ctx.usage)  #: site agents agent


class Handoff:
    def __init__(self, agents: dict[str, Agent]):
        self.agents = agents

    async def to(self, name, text):
        return await Runner.run(starting_agent=self.agents[name], input=text, run_config=RunConfig())  #: site agents agent


async def adk(agent: LlmAgent, user, message):
    sessions = InMemorySessionService()
    await sessions.create_session(app_name="studio", user_id=user)  #: not
    runner = AdkRunner(agent=agent, app_name="studio", session_service=sessions)
    return [event async for event in runner.run_async(user_id=user, session_id="s", new_message=message)]  #: site agents agent


def debate(topic):
    config = {"config_list": [{"model": "gpt-4o"}]}
    speakers = [AssistantAgent(name, llm_config=config) for name in ("pro", "contra")]
    chat = GroupChat(agents=speakers, messages=[], max_round=6)
    manager = GroupChatManager(groupchat=chat, llm_config=config)
    user = UserProxyAgent("user", human_input_mode="NEVER")
    user.register_reply([None], lambda *args: (False, None))  #: not
    user.initiate_chat(manager, message=topic)  #: site agents agent
    return ConversableAgent("judge", llm_config=config).generate_reply(messages=chat.messages)  #: site agents


def agno(text):
    helper = AgnoAgent(model=OpenAIChat(id="gpt-4o"))
    helper.print_response(text, stream=True)  #: site agents agent
    return Team(members=[helper]).run(text)  #: site agents agent


class Mathematician:
    agent: MultiStepAgent

    def __init__(self):
        self.agent = CodeAgent(tools=[], model=InferenceClientModel())

    def solve(self, text):
        self.agent.memory.reset()  #: not
        return self.agent.run(text, reset=False)  #: site agents agent


class Rag(dspy.Module):
    def __init__(self):
        self.respond = dspy.ReAct("question -> answer", tools=[])
        self.rewrite = dspy.Predict("question -> query")

    async def aforward(self, question):
        query = await self.rewrite.acall(question=question)  #: site agents chat
        return await self.respond.acall(question=query.query)  #: site agents


def rag(question):
    lm = dspy.LM("openai/gpt-4o-mini")
    dspy.configure(lm=lm)  #: not
    return lm("Say hello")  #: site agents chat


@component
class Answerer:
    def __init__(self):
        self.builder = PromptBuilder(template="{{ q }}")
        self.generator = OpenAIGenerator(model="gpt-4o-mini")

    @component.output_types(answer=str)
    def run(self, q: str):
        built = self.builder.run(q=q)  #: not
        return {"answer": self.generator.run(built["prompt"])["replies"][0]}  #: site agents chat


def local_vector(text):
    SentenceTransformersTextEmbedder().run(text)  #: not
    return OpenAITextEmbedder().run(text)["embedding"]  #: site agents embeddings


async def hay(text):
    pipeline = AsyncPipeline()
    pipeline.add_component("prompt", PromptBuilder(template="{{ q }}"))
    pipeline.add_component("llm", OpenAIGenerator())
    pipeline.connect("prompt", "llm")
    return await pipeline.run_async({"prompt": {"q": text}})  #: site agents chain


def hay_prompt(text):
    pipeline = Pipeline()
    pipeline.add_component("prompt", PromptBuilder(template="{{ q }}"))
    return pipeline.run({"prompt": {"q": text}})  #: not


def modern(text):
    helper = create_agent("openai:gpt-4o", tools=[])
    helper.get_graph().draw_mermaid()  #: not
    for part in helper.stream({"messages": [text]}, stream_mode="updates"):  #: site langchain agent
        print(part)


class Train:
    def run(self, text):
        return text

    def run_sync(self, text):
        return text

    def kickoff_async(self):
        return "go"


class Station:
    def __init__(self):
        self.agent = Train()
        self.runner = Train()

    def depart(self):
        self.agent.run("platform 9")  #: not
        self.runner.run_sync("platform 9")  #: not
        return self.agent.kickoff_async()  #: not
