import openai
from openai import ChatCompletion
from openai.error import RateLimitError

openai.api_key = "x"


def old(text):
    openai.ChatCompletion.create(model="gpt-3.5-turbo", messages=[])  #: site openai chat
    ChatCompletion.create(model="gpt-3.5-turbo", messages=[])  #: site openai chat
    openai.Completion.create(engine="davinci", prompt=text)  #: site openai completion
    openai.Embedding.create(input=text, model="x")  #: site openai embeddings
    openai.Image.create(prompt=text, n=1)  #: site openai image
    openai.Audio.transcribe("whisper-1", open("x"))  #: site openai transcription
    openai.Moderation.create(input=text)  #: site openai moderation
    openai.Model.list()  #: not
    openai.File.create(file=open("x"), purpose="fine-tune")  #: not
    openai.FineTune.create(training_file="x")  #: not
    openai.error.RateLimitError("x")  #: not


async def asynchronous(text):
    try:
        return await openai.ChatCompletion.acreate(model="x", messages=[])  #: site openai chat
    except RateLimitError:
        return await openai.Embedding.acreate(input=text, model="x")  #: site openai embeddings
