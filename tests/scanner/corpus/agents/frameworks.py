import dspy
import litellm
from agents import Agent as OpenAIAgent, Runner
from autogen import AssistantAgent, UserProxyAgent
from crewai import Agent as CrewAgent, Crew, Task
from haystack import Pipeline
from haystack.components.generators import OpenAIGenerator
from litellm import acompletion, completion as complete, embedding
from llama_index.core import Settings, VectorStoreIndex
from llama_index.llms.openai import OpenAI as LlamaOpenAI
from pydantic_ai import Agent
from smolagents import CodeAgent, InferenceClientModel

agent = Agent("openai:gpt-4o", system_prompt="x")
helper = OpenAIAgent(name="helper", instructions="x")


@agent.tool
def lookup(context, name):
    return name


async def pydantic(text):
    await agent.run(text)  #: site agents agent
    agent.run_sync(text)  #: site agents agent
    async with agent.run_stream(text) as result:  #: site agents agent
        await result.get_output()
    await Runner.run(helper, text)  #: site agents agent
    return Runner.run_sync(helper, text)  #: site agents agent


def lite(text):
    complete(model="gpt-4o", messages=[])  #: site litellm chat
    litellm.completion(model="gpt-4o", messages=[])  #: site litellm chat
    embedding(model="x", input=[text])  #: site litellm embeddings
    litellm.token_counter(model="x", text=text)  #: not
    litellm.completion_cost(completion_response=text)  #: not
    litellm.get_model_info("x")  #: not


async def alite(text):
    return await acompletion(model="x", messages=[])  #: site litellm chat


def crew(text):
    worker = CrewAgent(role="x", goal="y", backstory="z")
    task = Task(description=text, agent=worker)
    return Crew(agents=[worker], tasks=[task]).kickoff(inputs={"x": 1})  #: site agents agent


def auto(text):
    user = UserProxyAgent("user")
    assistant = AssistantAgent("assistant", llm_config={})
    return user.initiate_chat(assistant, message=text)  #: site agents agent


class Program(dspy.Module):
    def __init__(self):
        self.answer = dspy.ChainOfThought("question -> answer")

    def forward(self, question):
        return self.answer(question=question)  #: site agents chat


def hay(text):
    OpenAIGenerator(model="x").run(prompt=text)  #: site agents chat
    pipeline = Pipeline()
    pipeline.add_component("llm", OpenAIGenerator())
    return pipeline.run({"llm": {"prompt": text}})  #: site agents chain


def llama(documents, text):
    llm = LlamaOpenAI(model="x")
    llm.complete(text)  #: site llamaindex completion
    llm.chat([text])  #: site llamaindex chat
    index = VectorStoreIndex.from_documents(documents)  #: site llamaindex embeddings
    index.as_query_engine().query(text)  #: site llamaindex chat
    engine = index.as_chat_engine()
    engine.chat(text)  #: site llamaindex chat
    index.as_retriever().retrieve(text)  #: site llamaindex embeddings
    index.storage_context.persist("x")  #: not
    Settings.llm = llm
    return CodeAgent(tools=[], model=InferenceClientModel()).run(text)  #: site agents agent
