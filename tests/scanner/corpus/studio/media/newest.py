"""Methods that the SDKs have gained lately."""

import zoneinfo

import requests
from anthropic import Anthropic, AsyncAnthropic, beta_tool
from fabric import Connection
from google import genai
from openai import AsyncOpenAI, OpenAI

openai_client = OpenAI()
claude = Anthropic()
gemini = genai.Client()


@beta_tool
def local_time(zone: str) -> str:
    """The time in a zone."""
    return str(zoneinfo.ZoneInfo(zone))


def agent_turn(session_id, text):
    sessions = openai_client.beta.agents.sessions
    sessions.retrieve(session_id)  #: not
    with sessions.stream(session_id, input=text) as turn:  #: site openai agent
        for event in turn:
            print(event)
    sessions.items.list(session_id)  #: not


def agent_start(agent_id, text):
    openai_client.beta.agents.list()  #: not
    return openai_client.beta.agents.sessions.create(agent_id=agent_id, environment={"type": "none"}, input=text)  #: site openai agent


async def agent_events(session_id, text):
    client = AsyncOpenAI()
    await client.beta.agents.sessions.events.create(session_id, events=[{"type": "user_message", "content": text}])  #: site openai agent


def managed(session_id, text):
    session = claude.beta.sessions
    session.events.list(session_id)  #: not
    return session.events.send(session_id, events=[{"type": "user.message", "content": []}])  #: site anthropic agent


def managed_setup(agent, environment):
    claude.beta.agents.list()  #: not
    return claude.beta.sessions.create(agent=agent, environment_id=environment)  #: not


def with_tools(text):
    runner = claude.beta.messages.tool_runner(model="c", max_tokens=99, tools=[local_time], messages=[{"role": "user", "content": text}])  #: site anthropic
    return runner.until_done()  #: not


async def parsed(messages):
    async with AsyncAnthropic() as client:
        return await client.beta.messages.parse(model="c", max_tokens=99, messages=messages, output_format=dict)  #: site anthropic chat


def dream(store):
    return claude.beta.dreams.create(model="c", inputs=[{"type": "memory_store", "memory_store_id": store}])  #: site anthropic


def compacted(response_id):
    openai_client.responses.input_tokens.count(model="gpt-5", previous_response_id=response_id)  #: not
    openai_client.responses.retrieve(response_id)  #: not
    openai_client.conversations.create(items=[])  #: not
    return openai_client.responses.compact(model="gpt-5", previous_response_id=response_id)  #: site openai


def graded(eval_id, source):
    openai_client.evals.runs.list(eval_id)  #: not
    return openai_client.evals.runs.create(eval_id, data_source=source)  #: site openai


def interact(text, before=None):
    interaction = gemini.interactions.create(model="gemini-3-pro", input=text, previous_interaction_id=before)  #: site google
    return gemini.interactions.get(interaction.id)  #: not


async def interact_async(text):
    return await gemini.aio.interactions.create(agent="deep-research", input=text, background=True)  #: site google


def decide(text, questions):
    return gemini.decisions.create(model="gemini-3-flash", input=text, questions=questions)  #: site google


def calls(offer):
    call = openai_client.realtime.client_secrets.create(session={"type": "realtime"})  #: not
    requests.post("https://sip.example.org/calls", data=offer)  #: not
    return call


def remote(host):
    with Connection(host) as connection:
        return connection.run("uptime")  #: not


class Sessions:
    def stream(self, session_id, input):
        return [session_id, input]


def replay(session_id):
    sessions = Sessions()
    return sessions.stream(session_id, input="x")  #: not
