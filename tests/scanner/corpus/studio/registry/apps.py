from django.apps import AppConfig


class OpaqueConfig(AppConfig):
    name = "studio.registry"
    label = "opaque"

    def ready(self):
        import boto3
        from langchain_openai import ChatOpenAI

        self.brain = ChatOpenAI(model="gpt-4o")
        self.bus = boto3.client("lambda")
