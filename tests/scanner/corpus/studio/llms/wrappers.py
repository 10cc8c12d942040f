"""The same wrapper, once per framework we tried."""

import os

import dspy
from autogen_ext.models.openai import OpenAIChatCompletionClient
from crewai import LLM
from crewai.tools import BaseTool
from haystack import component
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.components.preprocessors import DocumentSplitter
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.wrapper import WrapperModel
from smolagents import OpenAIServerModel, Tool


class LoggedLLM(LLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None, **kwargs):
        answer = super().call(messages, tools=tools, callbacks=callbacks)  #: site agents chat
        self._log(messages, answer)  #: not
        return answer

    def _log(self, *parts):
        print(*parts)


class BudgetTool(BaseTool):
    name: str = "budget"
    description: str = "What is left of the budget"

    def _run(self, month: str) -> str:
        return os.environ.get(month, "0")

    def run(self, *args, **kwargs):
        return super().run(*args, **kwargs)  #: not


class CountedClient(OpenAIChatCompletionClient):
    calls = 0

    async def create(self, messages, **kwargs):
        self.calls += 1
        if self.remaining_tokens(messages) < 100:  #: not
            messages = messages[-2:]
        return await super().create(messages, **kwargs)  #: site agents chat

    async def create_stream(self, messages, **kwargs):
        async for chunk in super().create_stream(messages, **kwargs):  #: site agents chat
            yield chunk


class TracedModel(WrapperModel):
    async def request(self, messages, model_settings, model_request_parameters):
        return await self.wrapped.request(messages, model_settings, model_request_parameters)  #: site agents chat


class RegionalModel(OpenAIChatModel):
    async def request(self, messages, model_settings, model_request_parameters):
        settings, params = self.prepare_request(model_settings, model_request_parameters)  #: not
        response = await self._completions_create(messages, False, settings or {}, params)  #: site
        return self._process_response(response)  #: not

    async def ping(self):
        return await self.client.chat.completions.create(model=self.model_name, messages=[])  #: site openai chat


class PatientModel(OpenAIServerModel):
    def generate(self, messages, stop_sequences=None, **kwargs):
        completion_kwargs = self._prepare_completion_kwargs(messages=messages, model=self.model_id)  #: not
        return self.client.chat.completions.create(**completion_kwargs)  #: site openai chat


class ChattyModel(OpenAIServerModel):
    def generate(self, messages, **kwargs):
        print(len(messages))
        return super().generate(messages, **kwargs)  #: site agents chat


class WeatherTool(Tool):
    name = "weather"

    def forward(self, city):
        return city

    def twice(self, city):
        return self.forward(city) + self.forward(city)  #: not


class GuardedGenerator(OpenAIChatGenerator):
    def run(self, messages, streaming_callback=None, generation_kwargs=None):
        kept = [m for m in messages if m.text]
        return super().run(kept, generation_kwargs=generation_kwargs)  #: site agents chat


@component
class TolerantSplitter(DocumentSplitter):
    def run(self, documents):
        return super().run([d for d in documents if d.content])  #: not


class HouseLM(dspy.LM):
    def forward(self, prompt=None, messages=None, **kwargs):
        return super().forward(prompt=prompt, messages=messages, **kwargs)  #: site agents chat


class Triage(dspy.Module):
    def __init__(self):
        super().__init__()
        self.steps = [dspy.Predict("note -> urgency"), dspy.ChainOfThought("note -> plan")]
        self.judge = dspy.Predict("plan -> safe: bool")

    def forward(self, note):
        plan = None
        for step in self.steps:
            plan = step(note=note)  #: site agents chat
        return self.judge(plan=plan)  #: site agents chat
