from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "studio.web"
    label = "studio_ai"
    client = None
    payments = None

    def ready(self):
        import stripe
        from openai import OpenAI

        self.client = OpenAI(max_retries=5)
        self.payments = stripe.StripeClient("sk_test")
