"""Decisions and realtime sessions."""

import json

from channels.generic.websocket import AsyncWebsocketConsumer
from google import genai
from openai import AsyncOpenAI, OpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

openai_client = AsyncOpenAI()


def urgent(mail):
    decision = OpenAI().decisions.create(model="gpt-6-luna", input=mail, questions=[{"type": "predicate", "question": "Urgent?"}])  #: site openai
    return decision


async def score(mails):
    decisions = openai_client.decisions
    return [await decisions.create(model="gpt-6-luna", input=mail, questions=[]) for mail in mails]  #: site openai


class PhoneConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()  #: not

    async def receive(self, text_data=None, bytes_data=None):
        async with openai_client.realtime.connect(model="gpt-realtime") as connection:  #: site openai realtime
            await connection.session.update(session={"type": "realtime"})  #: not
            await connection.input_audio_buffer.append(audio=text_data)  #: not
            async for event in connection:
                await self.send(json.dumps(event.type))  #: not


async def say(connection: AsyncRealtimeConnection, text):
    await connection.conversation.item.create(item={"type": "message", "role": "user", "content": []})  #: not
    await connection.response.create()  #: site openai realtime
    await connection.response.cancel()  #: not


async def gemini_live(chunks):
    client = genai.Client()
    async with client.aio.live.connect(model="gemini-2.0-flash-live", config={}) as session:  #: site google realtime
        for chunk in chunks:
            await session.send_realtime_input(audio=chunk)  #: not
        async for message in session.receive():  #: not
            yield message


class DecisionLog:
    def create(self, **kwargs):
        return kwargs


def note(mail):
    decisions = DecisionLog()
    return decisions.create(model="committee", input=mail)  #: not
