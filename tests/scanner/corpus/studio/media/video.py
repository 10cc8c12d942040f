import time

import moviepy.editor as mp
from google import genai
from google.genai.types import GenerateVideosConfig
from huggingface_hub import InferenceClient
from mux_python import AssetsApi
from openai import AsyncOpenAI, OpenAI

sora = OpenAI()


def start(prompt):
    job = sora.videos.create(model="sora-2", prompt=prompt, seconds="8")  #: site openai video
    while job.status not in ("completed", "failed"):
        time.sleep(5)
        job = sora.videos.retrieve(job.id)  #: not
    return sora.videos.download_content(job.id)  #: not


async def whole(prompt):
    return await AsyncOpenAI().videos.create_and_poll(model="sora-2-pro", prompt=prompt)  #: site openai video


def again(video_id, change):
    return sora.videos.remix(video_id, prompt=change)  #: site openai video


def longer(video_id):
    videos = sora.videos
    videos.list(limit=5)  #: not
    videos.delete("video_old")  #: not
    return videos.extend(video={"id": video_id}, prompt="go on", seconds="4")  #: site openai video


def veo(prompt, image=None):
    client = genai.Client()
    operation = client.models.generate_videos(model="veo-3.0-generate-001", prompt=prompt, image=image, config=GenerateVideosConfig(number_of_videos=1))  #: site google video
    while not operation.done:
        operation = client.operations.get(operation)  #: not
    return operation.response.generated_videos[0]


async def veo_async(prompt):
    models = genai.Client().aio.models
    return await models.generate_videos(model="veo-2.0", prompt=prompt)  #: site google video


def hub(prompt):
    return InferenceClient(provider="fal-ai").text_to_video(prompt, model="tencent/HunyuanVideo")  #: site huggingface video


def cut(path):
    clip = mp.VideoFileClip(path)
    return mp.concatenate_videoclips([clip.subclip(0, 5)])  #: not


def host(api: AssetsApi, url):
    return api.create_asset({"input": url})  #: not


class VideoStore:
    def __init__(self):
        self.videos = {}

    def create(self, name):
        self.videos[name] = []

    def remix(self, name):
        return list(reversed(self.videos[name]))


def store(name):
    library = VideoStore()
    library.create(name)  #: not
    return library.remix(name)  #: not
