"""One turn of an agent, in every framework that some team here likes."""

import asyncio
import subprocess

import boto3
from agents import Agent, Runner, SQLiteSession, function_tool, trace
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat
from autogen_agentchat.ui import Console
from autogen_core import CancellationToken
from autogen_ext.models.openai import OpenAIChatCompletionClient
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, query
from crewai import Crew, Task
from crewai.flow.flow import Flow, start
from google.adk.agents import LlmAgent
from google.adk.runners import InMemoryRunner
from google.genai import types
from haystack import Pipeline
from haystack.components.agents import Agent as HayAgent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.components.preprocessors import DocumentCleaner
from haystack.components.writers import DocumentWriter
from pydantic_ai import Agent as TypedAgent
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function
from smolagents import OpenAIServerModel, ToolCallingAgent
from unittest import TextTestRunner

triage = Agent(name="triage", instructions="Sort the mail")


@function_tool
def stock(sku: str) -> int:
    return len(sku)


async def sort(mail):
    session = SQLiteSession("mail")
    with trace("mail"):
        result = await Runner.run(triage, mail, session=session)  #: site agents agent
    await session.add_items([])  #: not
    streamed = Runner.run_streamed(triage, input=mail)  #: site agents agent
    async for event in streamed.stream_events():  #: not
        print(event)
    return result.final_output


class Desk:
    runner = Runner

    def __init__(self):
        self.agent = Agent(name="desk", tools=[stock])

    def answer(self, text):
        return self.runner.run_sync(self.agent, text).final_output  #: site agents agent


def suite(cases):
    return TextTestRunner().run(cases)  #: not


def shell(args):
    return subprocess.run(args, check=True)  #: not


class Bedrock:
    def __init__(self):
        session = boto3.Session(region_name="eu-west-1")
        self.agents = session.client("bedrock-agent-runtime")
        self.lambdas = session.client("lambda")

    def turn(self, text):
        events = self.agents.invoke_agent(agentId="A", agentAliasId="B", sessionId="s", inputText=text)  #: site aws agent
        return b"".join(event["chunk"]["bytes"] for event in events["completion"])

    def inline(self, text):
        return self.agents.invoke_inline_agent(foundationModel="m", instruction="x", sessionId="s", inputText=text)  #: site aws agent

    def ask_knowledge(self, text):
        return self.agents.retrieve_and_generate(input={"text": text})  #: site aws

    def resize(self, payload):
        return self.lambdas.invoke(FunctionName="resize", Payload=payload)  #: not


async def code(task):
    async for message in query(prompt=task, options=ClaudeAgentOptions(max_turns=3)):  #: site anthropic agent
        yield message


async def code_together(task):
    async with ClaudeSDKClient(options=ClaudeAgentOptions()) as client:
        await client.query(task)  #: site anthropic agent
        async for message in client.receive_response():  #: not
            yield message


class Sessions:
    def __init__(self):
        self.client = ClaudeSDKClient()

    async def turn(self, text):
        await self.client.interrupt()  #: not
        await self.client.query(text)  #: site anthropic agent


async def adk(text):
    runner = InMemoryRunner(agent=LlmAgent(name="helper", model="gemini-2.0-flash"), app_name="studio")
    session = await runner.session_service.create_session(app_name="studio", user_id="u")  #: not
    content = types.Content(role="user", parts=[types.Part(text=text)])
    async for event in runner.run_async(user_id="u", session_id=session.id, new_message=content):  #: site agents agent
        yield event


def report(topic, topics):
    crew = Crew(agents=[], tasks=[Task(description=topic, expected_output="x")])
    crew.kickoff_for_each(inputs=[{"t": t} for t in topics])  #: site agents agent
    return crew.kickoff({"topic": topic})  #: site agents agent


async def report_async(crew: Crew, topic):
    return await crew.kickoff_async(inputs={"topic": topic})  #: site agents agent


class Digest(Flow):
    @start()
    def collect(self):
        return ["a"]


class Match:
    def kickoff(self):
        return "whistle"


def play():
    return Match().kickoff()  #: not


async def team(task):
    model = OpenAIChatCompletionClient(model="gpt-4o")
    writer = AssistantAgent("writer", model_client=model)
    critic = AssistantAgent("critic", model_client=model)
    await writer.on_messages([], CancellationToken())  #: site agents agent
    rounds = RoundRobinGroupChat([writer, critic], max_turns=4)
    await Console(rounds.run_stream(task=task))  #: site agents agent
    await rounds.reset()  #: not
    chosen = SelectorGroupChat([writer, critic], model_client=model)
    return await chosen.run(task=task)  #: site agents agent


def helper(text):
    agent = ToolCallingAgent(tools=[], model=OpenAIServerModel("gpt-4o"))
    return [step for step in agent.run(text, stream=True)]  #: site agents agent


typed = TypedAgent("openai:gpt-4o")


async def steps(text):
    async with typed.iter(text) as run:  #: site agents agent
        async for node in run:
            print(node)
    return run.result


def several(texts):
    return [typed.run_sync(text).output for text in texts]  #: site agents agent


def answering():
    pipeline = Pipeline()
    pipeline.add_component("llm", OpenAIChatGenerator(model="gpt-4o"))
    return pipeline


def indexing(store):
    pipeline = Pipeline()
    pipeline.add_component("clean", DocumentCleaner())
    pipeline.add_component("write", DocumentWriter(document_store=store))
    pipeline.connect("clean", "write")
    return pipeline


def hay(text, store):
    indexing(store).run({"clean": {"documents": [text]}})  #: not
    DocumentCleaner().run(documents=[text])  #: not
    answering().run({"llm": {"messages": [text]}})  #: site agents chain
    return HayAgent(chat_generator=OpenAIChatGenerator(), tools=[]).run(messages=[text])  #: site agents agent


class Clock:
    @kernel_function(description="The time")
    def now(self) -> str:
        return "12:00"


async def kernel(text):
    kernel = Kernel()
    kernel.add_service(OpenAIChatCompletion(ai_model_id="gpt-4o"))
    kernel.add_plugin(Clock(), "clock")
    Clock().now()  #: not
    return await kernel.invoke_prompt(f"Answer: {text}")  #: site agents


def main(mail):
    return asyncio.run(sort(mail))  #: not
