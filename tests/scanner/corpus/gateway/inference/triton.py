"""Triton, KServe and the Vertex-like predictors of the data science team."""
import base64
import logging

import httpx
import requests
from django.conf import settings

from gateway.core.http import BaseService

logger = logging.getLogger(__name__)


class PredictorBase(BaseService):
    model_name: str
    version = 1

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.endpoint = f"{settings.TRITON_URL}/v2/models/{self.model_name}"

    def tensor(self, name, values, datatype="BYTES"):
        return {"name": name, "shape": [len(values)], "datatype": datatype, "data": values}


class Translator(PredictorBase):
    model_name = "nllb"

    def translate(self, lines):
        request = {"inputs": [self.tensor("text", lines)], "outputs": [{"name": "translated"}]}
        answer = self.session.post(self.endpoint + "/infer", json=request)  #: site unknown prediction
        answer.raise_for_status()
        return answer.json()["outputs"][0]["data"]

    def ready(self):
        return self.session.get(self.endpoint + "/ready").status_code == 200  #: not

    def config(self):
        return self.session.get(f"{self.endpoint}/config").json()  #: not

    def load(self):
        url = f"{settings.TRITON_URL}/v2/repository/models/{self.model_name}/load"
        self.session.post(url, json={})  #: not


class Generator(PredictorBase):
    model_name = "ensemble"

    def complete(self, text):
        body = {"text_input": text, "max_tokens": 100, "bad_words": "", "stop_words": ""}
        return self.http.post(f"{self.endpoint}/generate", json=body).json()["text_output"]  #: site unknown completion

    def complete_stream(self, text):
        with self.http.stream("POST", f"{self.endpoint}/generate_stream", json={"text_input": text, "stream": True}) as r:  #: site unknown completion
            yield from r.iter_lines()


def kserve_v1(service, rows):
    url = f"{settings.KSERVE_INGRESS}/v1/models/{service}:predict"
    response = requests.post(url, json={"instances": rows}, headers={"Host": f"{service}.ml.example.com"}, timeout=10)  #: site unknown prediction
    return response.json()["predictions"]


def kserve_rows(service, rows):
    instances = [{"x": row} for row in rows]
    return httpx.post("%s/v1/models/%s:predict" % (settings.KSERVE_INGRESS, service), json=dict(instances=instances)).json()  #: site unknown prediction


async def kserve_v2(name, prompts):
    payload = {"id": "1", "inputs": [{"name": "prompt", "shape": [len(prompts)], "datatype": "BYTES", "data": prompts}]}
    async with httpx.AsyncClient(base_url=settings.KSERVE_INGRESS, timeout=None) as client:
        response = await client.post(f"/v2/models/{name}/infer", json=payload)  #: site unknown prediction
    return response.json()["outputs"]


def caption(image_bytes, session=None):
    session = session or requests.Session()
    instance = {"image": {"b64": base64.b64encode(image_bytes).decode()}, "prompt": "caption en"}
    body = {"instances": [instance], "parameters": {"maxOutputTokens": 64}}
    return session.post(settings.PALIGEMMA_ENDPOINT, json=body).json()["predictions"][0]  #: site unknown


def sagemaker_local(text):
    """The container of SageMaker, run on our own machines."""
    payload = {"inputs": text, "parameters": {"top_k": 10}}
    return requests.post("http://sm-local:8080/invocations", json=payload).json()  #: site unknown


def server_statistics():
    return requests.get(f"{settings.TRITON_URL}/v2/models/stats").json()  #: not


def scale(service, replicas):
    """Kubernetes, not a model."""
    requests.patch(f"{settings.K8S_API}/apis/serving.kserve.io/v1beta1/inferenceservices/{service}", json={"spec": {"replicas": replicas}})  #: not


def start_machines(count):
    """Our cloud provider counts `instances` as well."""
    requests.post(f"{settings.CLOUD_API}/v1/instances", json={"instances": [{"size": "m1"}] * count, "region": "eu"})  #: not
