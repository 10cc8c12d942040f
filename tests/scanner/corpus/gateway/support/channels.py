"""Where messages of customers come from and go to. No model here."""
import boto3
import redis
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from github import Github
from slack_sdk import WebClient
from slack_sdk.web.async_client import AsyncWebClient
from twilio.rest import Client as Twilio

from gateway.core.http import APIClient, get_session, post_json


def sms(number, text):
    twilio = Twilio(settings.TWILIO_SID, settings.TWILIO_TOKEN)
    return twilio.messages.create(to=number, from_=settings.TWILIO_FROM, body=text)  #: not


def call(number):
    return Twilio(settings.TWILIO_SID, settings.TWILIO_TOKEN).calls.create(to=number, url="https://x.example/voice")  #: not


def slack(text, channel="#support"):
    WebClient(settings.SLACK_TOKEN).chat_postMessage(channel=channel, text=text)  #: not


async def slack_history(channel):
    client = AsyncWebClient(settings.SLACK_TOKEN)
    return (await client.conversations_history(channel=channel))["messages"]  #: not


def slack_raw(messages):
    headers = {"Authorization": f"Bearer {settings.SLACK_TOKEN}"}
    return get_session().post("https://slack.com/api/chat.postMessage", json={"channel": "C1", "text": messages[0]}, headers=headers)  #: not


def issue(title, body):
    repo = Github(settings.GITHUB_TOKEN).get_repo("corp/site")
    return repo.create_issue(title=title, body=body)  #: not


def github_dispatch(workflow, inputs):
    url = f"https://api.github.com/repos/corp/site/actions/workflows/{workflow}/dispatches"
    return post_json(url, {"ref": "main", "inputs": inputs})  #: not


def github_render(text):
    return get_session().post("https://api.github.com/markdown", json={"text": text, "mode": "gfm"}).text  #: not


def telegram(chat, text):
    return get_session().post(f"https://api.telegram.org/bot{settings.BOT}/sendMessage", json={"chat_id": chat, "text": text})  #: not


def whatsapp(number, text):
    api = APIClient("https://graph.facebook.com", token=settings.META_TOKEN)
    return api.post("/v19.0/1/messages", {"messaging_product": "whatsapp", "to": number, "text": {"body": text}})  #: not


def get_client(kind):
    if kind == "s3":
        return boto3.client("s3")
    if kind == "redis":
        return redis.Redis.from_url(settings.REDIS_URL)
    raise LookupError(kind)


def attachment(key):
    client = get_client("s3")
    return client.get_object(Bucket="tickets", Key=key)["Body"].read()  #: not


def attachments(prefix):
    client = get_client("s3")
    return client.generate_presigned_url("get_object", Params={"Bucket": "tickets", "Key": prefix})  #: not


def queue_length():
    client = get_client("redis")
    return client.xlen("tickets")  #: not


def remember(ticket):
    Message = apps.get_model("support", "Message")
    Message.objects.create(ticket=ticket, text=ticket.text)  #: not
    message_model = apps.get_model("support.Message")
    return message_model.objects.bulk_create([message_model(ticket=ticket)])  #: not


def agents(name):
    User = get_user_model()
    return User.objects.create(username=name)  #: not


def consume(queue, handle):
    for message in queue.stream():  #: not
        handle(message)
