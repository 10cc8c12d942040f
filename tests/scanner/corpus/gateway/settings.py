import os

VLLM_BASE_URL = os.environ.get("VLLM_BASE_URL", "http://vllm.internal:8000")
TGI_URL = os.environ.get("TGI_URL", "http://tgi:8080")
TRITON_URL = os.getenv("TRITON_URL", "http://triton.ml.svc.cluster.local:8000")
KSERVE_INGRESS = os.getenv("KSERVE_INGRESS", "http://kserve.ml.svc.cluster.local")
AI_PROXY = {"URL": os.getenv("AI_PROXY_URL", "https://ai-proxy.corp.example"), "TIMEOUT": 60}
LLM_GATEWAY_URL = "https://llm-gateway.corp.example"
RAY_SERVE_URL = "http://ray-head:8000"
CRM_URL = "https://crm.corp.example/api"
SEARCH_URL = "http://opensearch:9200"
REPORTS_URL = "https://reports.corp.example"
EMBEDDING_MODEL = "bge-m3"
CHAT_MODEL = "qwen2.5-72b-instruct"
