# `vocseg serve` for machines without a GPU: docker build -t vocseg . && docker run -p 8000:8000 -e VOCSEG_TOKEN=secret vocseg
FROM python:3.12-slim AS build
WORKDIR /source
# Torch's wheels for CPUs, which are a tenth of the size of those for GPUs.
RUN python -m venv /opt/vocseg && \
  /opt/vocseg/bin/pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "torch>=2.6" "torchvision>=0.21"
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN /opt/vocseg/bin/pip install --no-cache-dir '.[serve]'

FROM python:3.12-slim
COPY --from=build /opt/vocseg /opt/vocseg
ENV PATH=/opt/vocseg/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
# A number, so that Kubernetes can tell that it is not root.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v1/ready', timeout=4)"]
ENTRYPOINT ["vocseg", "serve", "--host", "0.0.0.0", "--port", "8000", "--log-format", "json"]
