# The page and its API. Written to be right, not tried: no container engine is where this was made.
# docker build --tag likewise .    The index, the audit and the settings stay outside (compose.yaml).
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/likewise/.venv
WORKDIR /opt/likewise
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN .venv/bin/python -m pip install --constraint constraints.txt .

FROM python:3.11-slim-bookworm
ENV PATH=/opt/likewise/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /opt/likewise
COPY --from=build /opt/likewise/.venv /opt/likewise/.venv
COPY LICENSE README.md build_index.py ./
COPY embed ./embed
COPY index ./index
COPY search ./search
COPY web ./web
COPY deploy ./deploy
COPY docs ./docs
# a number, so that an orchestrator can see that it is not root; the same owns the index and the audit outside
USER 10001:10001
ENV LIKEWISE_BIND=0.0.0.0:8000
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/api/v1/health', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["gunicorn", "--config", "deploy/gunicorn.conf.py", "web:create_app()"]
