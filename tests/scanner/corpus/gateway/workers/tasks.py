from celery import shared_task

from gateway.assistant import rest, transport
from gateway.support.replies import Drafts


@shared_task
def first(names):
    return [rest.answer(name) for name in names]  #: not


@shared_task
def second(ticket=None):
    Drafts().draft(ticket)  #: not
    return transport.signed_chat([])  #: not
