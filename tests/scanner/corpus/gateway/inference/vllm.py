"""vLLM pods behind our own ingress."""
from django.conf import settings

from gateway.core.http import BaseService, auth_headers, get_session

SAMPLING = {"temperature": 0.2, "top_p": 0.9}


def default_body(messages, **overrides):
    body = {"model": settings.CHAT_MODEL, "messages": messages, **SAMPLING}
    body.update(overrides)
    return body


class VLLMClient(BaseService):
    service_url = settings.VLLM_BASE_URL

    def chat(self, messages):
        payload = default_body(messages, max_tokens=512)
        response = self.session.post(self.url("/chat"), json=payload, headers=self.headers())  #: site unknown chat
        response.raise_for_status()
        return response.json()["choices"][0]["message"]["content"]

    def generate(self, prompt, stop=None):
        data = {}
        data["prompt"] = prompt
        data["max_tokens"] = 256
        if stop:
            data["stop"] = stop
        with self.session.post(  #: site unknown completion
            self.url("/generate"),
            json=data,
            headers=self.headers(),
            stream=True,
        ) as response:
            for line in response.iter_lines(delimiter=b"\0"):
                yield line

    def embed(self, texts):
        body = dict(model=settings.EMBEDDING_MODEL, input=texts)
        return self.http.post(self.url("/embed"), json=body).json()["data"]  #: site unknown embeddings

    def score(self, query, passages):
        request = {"model": "bge-reranker-v2", "query": query}
        request["documents"] = [p.text for p in passages]
        return self.http.post(self.url("/rerank"), json=request).json()["results"]  #: site unknown rerank

    def tokenize(self, prompt):
        return self.session.post(self.url("/tokenize"), json={"prompt": prompt}).json()["count"]  #: not

    def models(self):
        return self.session.get(self.url("/v1/models"), headers=self.headers()).json()  #: not

    def alive(self):
        return self.session.get(self.url("/health"), timeout=2).ok  #: not

    def load_adapter(self, name, path):
        self.session.post(self.url("/v1/load_lora_adapter"), json={"lora_name": name, "lora_path": path})  #: not

    def sleep(self):
        self.session.post(self.url("/sleep"), json={"level": 1})  #: not


def classify_ticket(ticket):
    """Guided decoding: one of the labels comes back."""
    sess = get_session()
    body = {
        "model": settings.CHAT_MODEL,
        "messages": [{"role": "user", "content": ticket.body}],
        "guided_choice": ["bug", "question", "billing"],
    }
    reply = sess.post(f"{settings.VLLM_BASE_URL}/v1/guided", json=body, headers=auth_headers("x"))  #: site unknown chat
    return reply.json()["choices"][0]["message"]["content"]


def warm_up(prompts):
    session = get_session()
    for prompt in prompts:
        session.post(settings.VLLM_BASE_URL + "/generate", json={"prompt": prompt, "max_tokens": 1}, timeout=120)  #: site unknown completion


def notify_oncall(text):
    get_session().post(settings.PAGER_URL + "/v2/enqueue", json={"payload": {"summary": text}})  #: not
