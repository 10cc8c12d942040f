from asgiref.sync import async_to_sync
from django.apps import apps
from django.core.cache import cache
from django.http import JsonResponse
from django.views import View

from studio.registry.backends import complete_with, BACKENDS
from studio.web.models import Note


def summarise(request, pk):
    note = Note.objects.get(pk=pk)
    config = apps.get_app_config("studio_ai")
    answer = config.client.responses.create(model="gpt-4o-mini", input=note.text)  #: site openai chat
    return JsonResponse({"summary": answer.output_text})


def tag(request, pk):
    client = apps.get_app_config("studio_ai").client
    return JsonResponse(client.chat.completions.create(model="m", messages=[]).model_dump())  #: site openai chat


def pay(request):
    shop = apps.get_app_config("studio_ai").payments
    return JsonResponse(shop.payment_intents.create({"amount": 5}))  #: not


def compare(request):
    rows = {name: complete_with(name, request.GET["q"]) for name in BACKENDS}  #: not
    return JsonResponse(rows)


class CachedView(View):
    def get(self, request):
        backend = cache.get("backend")
        if backend is None:
            cache.set("backend", {"name": "x"})
        Note.objects.create(text=request.GET["q"])  #: not
        return JsonResponse({"ok": True})


class AskView(View):
    async def _ask(self, text):
        client = apps.get_app_config("studio_ai").client
        return client.responses.create(model="gpt-4o", input=text)  #: site openai chat

    def post(self, request):
        return JsonResponse({"a": str(async_to_sync(self._ask)(request.POST["q"]))})  #: not
