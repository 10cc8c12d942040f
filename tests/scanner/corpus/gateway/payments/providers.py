"""Stripe, PayPal and others: their verbs are those of models."""
import braintree
import paypalrestsdk
import stripe
from django.conf import settings
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt

from gateway.core.http import BaseService, get_session
from gateway.payments.gateways import get_gateway, make_processor

stripe.api_key = settings.STRIPE_KEY


def charge(order):
    return stripe.PaymentIntent.create(amount=order.cents, currency="eur", metadata={"model": order.model})  #: not


def session(order):
    return stripe.checkout.Session.create(mode="payment", line_items=[{"price": order.price_id}])  #: not


def new_client(order):
    client = stripe.StripeClient(settings.STRIPE_KEY)
    client.payment_intents.create(params={"amount": order.cents})  #: not
    return client.events.list()  #: not


def paypal(order):
    payment = paypalrestsdk.Payment({"intent": "sale"})
    return payment.create()  #: not


def braintree_sale(order):
    gateway = braintree.BraintreeGateway(braintree.Configuration())
    return gateway.transaction.sale({"amount": order.total})  #: not


def complete(order):
    gateway = get_gateway(order.gateway_name)
    return gateway.complete(order)  #: not


def process(orders):
    processor = make_processor()
    for order in orders:
        processor.run(order)  #: not
    return processor.batch(orders)  #: not


class Klarna(BaseService):
    service_url = "https://api.klarna.com"

    def open(self, order):
        body = {"purchase_country": "DE"}
        body["order_lines"] = order.lines
        return self.session.post(self.url("/payments/v1/sessions"), json=body).json()  #: not

    def authorize(self, token, order):
        return self.http.post(self.url(f"/payments/v1/authorizations/{token}/order"), json={"order_amount": order.cents})  #: not


@csrf_exempt
def webhook(request):
    event = stripe.Webhook.construct_event(request.body, request.headers["Stripe-Signature"], settings.STRIPE_SECRET)
    event.handler().invoke(event)  #: not
    get_session().post(settings.LEDGER_URL + "/events", json={"type": event.type, "input": event.data})  #: not
    return HttpResponse()


def invoice_pdf(order):
    return get_session().post(f"{settings.PDF_URL}/generate", json={"template": "invoice", "data": order.as_dict()}).content  #: not


def barcode(order):
    return get_session().post(f"{settings.BARCODE_URL}/generate", json={"text": order.number, "type": "ean13"}).content  #: not
