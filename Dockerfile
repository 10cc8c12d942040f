# The demo site under gunicorn. `docker compose up --build` starts it with PostgreSQL.
FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    AI_USAGE_OUTBOX=/var/lib/ai_usage_outbox

# The outbox holds undelivered events: only the site's system user may read it.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin site \
    && install --directory --owner=site --group=site --mode=0700 "$AI_USAGE_OUTBOX"

WORKDIR /site
COPY requirements.txt ./
RUN pip install --requirement requirements.txt
COPY manage.py ./
COPY usage_tracking ./usage_tracking
COPY project ./project

USER site
VOLUME ["/var/lib/ai_usage_outbox"]
EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]

CMD ["gunicorn", "project.wsgi:application", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "8", "--no-control-socket", "--access-logfile", "-"]
