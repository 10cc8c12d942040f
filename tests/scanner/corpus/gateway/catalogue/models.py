from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection, models


class Product(models.Model):
    name = models.CharField(max_length=200)
    raw_text = models.TextField()
    model = models.CharField(max_length=80, help_text="The manufacturer's")
    prompt = models.TextField(blank=True)

    def features(self):
        return {"name": self.name, "length": len(self.raw_text)}

    def log_change(self, user, text):
        Change = apps.get_model("catalogue", "Change")
        Change.objects.create(product=self, user=user, text=text)  #: not
        apps.get_model("catalogue", "Audit").objects.create(model=self.model, prompt=self.prompt)  #: not

    def owner(self):
        return get_user_model().objects.get(pk=self.pk)  #: not

    @classmethod
    def nearest(cls, vector):
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM catalogue_product ORDER BY embedding <-> %s LIMIT 5", [vector])  #: not
            return [row[0] for row in cursor.fetchall()]


class Change(models.Model):
    product = models.ForeignKey(Product, on_delete=models.CASCADE)
    text = models.TextField()
