from django.db import models


class Message(models.Model):
    text = models.TextField()

    @classmethod
    def start(cls, **values):
        return cls.objects.create(**values)  #: not


class Response(models.Model):
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="responses")
    body = models.TextField()


class Conversation(models.Model):
    title = models.TextField()

    def answer(self, text):
        self.messages.create(role="user", content=text)  #: not
        message = Message.objects.create(text=text)  #: not
        message.responses.create(body=text)  #: not
        self.embeddings.create(vector=[1.0], chunk=text)  #: not
        self.images.create(path="x")  #: not
        self.completions.create(user=1, course=2)  #: not
        return message
