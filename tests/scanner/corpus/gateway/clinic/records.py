"""Other registries, factories and providers of a clinic's site."""
import discord
from click.shell_completion import ShellComplete
from compressor.utils import get_compressor
from corp_flows import get_parser, get_tokenizer, get_vectorizer, registry
from corp_media import get_generator, get_oembed_provider, get_storage, load_template
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from faker import Faker
from rooms import get_chat, get_room

from gateway.clinic.workflows import get_workflow


def admit(patient):
    workflow = get_workflow("admission")
    workflow.invoke({"patient": patient.pk})  #: not
    return registry.get("billing").run(patient)  #: not


def parse(text):
    parser = get_parser("hl7")
    parser.invoke(text)  #: not
    return get_tokenizer().encode(text)  #: not


def features(texts):
    vectorizer = get_vectorizer()
    vectorizer.fit(texts)  #: not
    return vectorizer.transform(texts)  #: not


def embed_video(url):
    provider = get_oembed_provider(url)
    return provider.embed(url)  #: not


def scan(key):
    storage = get_storage("scans")
    yield from storage.stream(key)  #: not


def pages(urls):
    sitemap = get_generator("sitemap")
    return sitemap.generate(urls)  #: not


def letter(values):
    template = load_template("letter")
    return template.stream(values)  #: not


def talk(room_id, text):
    get_chat(room_id).send_message(text)  #: not
    room = get_room(room_id)
    room.chat(text)  #: not
    return room.messages.create(text=text)  #: not


def css(files):
    compressor = get_compressor("css")
    return compressor.compress(files)  #: not


def complete(cli, words):
    completer = ShellComplete(cli, {}, "clinic", "_CLINIC_COMPLETE")
    return completer.complete()  #: not


def generic(pk):
    model = ContentType.objects.get(pk=pk).model_class()
    model.objects.create(prompt="")  #: not
    history = apps.get_model("clinic", "History")
    history.objects.filter(pk=pk).update(model="x")  #: not
    return history.objects.stream()  #: not


def announce(text):
    embed = discord.Embed(title=text)
    embed.add_field(name="model", value=text)  #: not
    return embed


def fake():
    return Faker().text()  #: not
