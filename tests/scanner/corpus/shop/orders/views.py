import json

import stripe
from django.http import JsonResponse
from django.views import View
from rest_framework.decorators import api_view, action
from rest_framework.viewsets import ViewSet
from twilio.rest import Client as Twilio
from twilio.rest import Client

from shop.ai import Writer, claude_factory, get_client
from shop.ai.clients import Lazy
from shop.orders.models import Conversation, Message

stripe.api_key = "x"
sms = Twilio("sid", "token")


def pay(request):
    stripe.Charge.create(amount=1)  #: not
    session = stripe.checkout.Session.create(mode="payment")  #: not
    stripe.Customer.create(email="x")  #: not
    sms.messages.create(body="hi", from_="+1", to="+2")  #: not
    Client("a", "b").messages.create(body="hi", from_="+1", to="+2")  #: not
    client = Client("a", "b")
    client.messages.stream()  #: not
    return JsonResponse({"id": session.id})


@api_view(["POST"])
def chat(request):
    conversation = Conversation.objects.create(title="x")  #: not
    conversation.messages.create(role="user", content=request.data["text"])  #: not
    reply = get_client().chat.completions.create(model="gpt-4o", messages=[])  #: site openai chat
    claude = claude_factory()
    claude.messages.create(model="claude", max_tokens=9, messages=[])  #: site anthropic chat
    return JsonResponse({"text": reply.choices[0].message.content})


class Ask(View):
    writer_class = Writer

    def get_writer(self):
        return self.writer_class()

    def post(self, request):
        writer = self.get_writer()
        writer.client.responses.create(model="gpt-5", input="x")  #: site openai chat
        self.claude().messages.create(model="m", max_tokens=3, messages=[])  #: site anthropic chat
        writer.claude.messages.create(model="m", max_tokens=3, messages=[])  #: site anthropic chat
        return JsonResponse(writer.summary("x"))  #: not

    def claude(self):
        return claude_factory()


class Talk(ViewSet):
    def create(self, request):
        return Message.start(text="x")  #: not

    @action(detail=False)
    def talk(self, request):
        return Lazy().ask(request.data)  #: not

    def stream(self, request):
        return self.create(request)  #: not
