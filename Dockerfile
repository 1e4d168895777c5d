# Two images from one file: `web` without a training stack, `engine` with it.
FROM python:3.11-slim-trixie AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HF_HUB_DISABLE_TELEMETRY=1 PAIRLOOP_HOME=/data HF_HOME=/data/hf
RUN useradd --create-home --uid 10001 pairloop && install -d -o pairloop -g pairloop /data
# pg_dump and pg_restore, for manage.py backup and restore: as new as the server of docker-compose.yml, or newer.
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-client && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements-web.txt ./
RUN pip install -r requirements-web.txt

FROM base AS web
COPY . .
USER pairloop
EXPOSE 8000
CMD ["gunicorn", "--config", "config/gunicorn.py"]

FROM base AS engine
# The CPU build: --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
ARG TORCH_INDEX_URL=""
COPY requirements.txt requirements-engine.txt ./
RUN if [ -n "$TORCH_INDEX_URL" ]; then pip install torch==2.13.0 --index-url "$TORCH_INDEX_URL"; fi \
    && pip install -r requirements.txt
COPY . .
USER pairloop
CMD ["python", "manage.py", "worker", "--gpu"]
