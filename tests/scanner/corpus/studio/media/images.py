import base64
import io

import cloudinary.uploader
import torch
import vertexai
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline
from google import genai
from google.genai import types
from huggingface_hub import AsyncInferenceClient, InferenceClient
from openai import AsyncOpenAI, OpenAI
from PIL import Image, ImageEnhance
from vertexai.preview.vision_models import Image as VertexImage, ImageGenerationModel

from django.db import models

client = OpenAI()


class Picture(models.Model):
    file = models.ImageField()
    variants = models.JSONField(default=list)

    def create_variation(self, size):
        image = Image.open(self.file)
        return image.resize(size)  #: not

    def edit(self, factor):
        return ImageEnhance.Contrast(Image.open(self.file)).enhance(factor)  #: not


def retouch(picture, mask, wish):
    return client.images.edit(model="gpt-image-1", image=picture.file.open(), mask=mask, prompt=wish)  #: site openai image


def retouch_slowly(picture, wish):
    images = client.with_options(timeout=180).images
    return images.edit(model="gpt-image-1", image=picture.file.open(), prompt=wish)  #: site openai image


def variations(picture: Picture, n=2):
    picture.create_variation((32, 32))  #: not
    picture.edit(0.5)  #: not
    return client.images.create_variation(image=picture.file.open(), n=n)  #: site openai image


def poster(text):
    raw = client.images.with_raw_response.generate(model="gpt-image-1", prompt=text)  #: site openai image
    image = raw.parse()  #: not
    return io.BytesIO(base64.b64decode(image.data[0].b64_json))


async def sketches(texts):
    painter = AsyncOpenAI().images
    return [await painter.generate(model="dall-e-3", prompt=text) for text in texts]  #: site openai image


class Imagen:
    def __init__(self, project):
        self.genai = genai.Client(vertexai=True, project=project)
        vertexai.init(project=project)  #: not
        self.model = ImageGenerationModel.from_pretrained("imagen-3.0-generate-002")  #: not

    def new(self, text):
        return self.genai.models.generate_images(model="imagen-4.0", prompt=text, config=types.GenerateImagesConfig(number_of_images=1))  #: site google image

    def change(self, text, reference):
        return self.genai.models.edit_image(model="imagen-3.0-capability-001", prompt=text, reference_images=[reference])  #: site google image

    def enlarge(self, image):
        return self.genai.models.upscale_image(model="imagen-3.0", image=image, upscale_factor="x2")  #: site google image

    async def dress(self, person, shirt):
        source = types.RecontextImageSource(person_image=person, product_images=[shirt])
        return await self.genai.aio.models.recontext_image(model="virtual-try-on", source=source)  #: site google image

    def cut(self, image):
        source = types.SegmentImageSource(image=image)
        return self.genai.models.segment_image(model="image-segmentation-001", source=source)  #: site google

    def vertex(self, text):
        image = self.model.generate_images(prompt=text, number_of_images=1)[0]  #: site google image
        image = self.model.edit_image(prompt="brighter", base_image=image)[0]  #: site google image
        return self.model.upscale_image(image=image, new_size=2048)  #: site google image

    def load(self, path):
        return VertexImage.load_from_file(path)  #: not


def open_model(text):
    return InferenceClient(model="black-forest-labs/FLUX.1-dev").text_to_image(text)  #: site huggingface image


async def repaint(image, text):
    hub = AsyncInferenceClient(provider="fal-ai")
    return await hub.image_to_image(image, prompt=text)  #: site huggingface image


def local(text):
    pipe = StableDiffusionPipeline.from_pretrained("sd-1-5", torch_dtype=torch.float16)  #: not
    return pipe(text).images[0]  #: not


def local_edit(image, mask, text):
    pipe = StableDiffusionInpaintPipeline.from_pretrained("sd-inpaint").to("cuda")
    return pipe(prompt=text, image=image, mask_image=mask).images[0]  #: not


def publish(picture):
    return cloudinary.uploader.upload(picture.file)  #: not
