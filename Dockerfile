# docker build -t joip-share .
# docker run -e REDIS_URL=redis://… -e PUBLIC_URL=https://… -p 127.0.0.1:8000:8000 joip-share
FROM python:3.13-slim

WORKDIR /app
COPY requirements.lock ./
RUN pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements.lock
COPY *.py openapi.yaml ./
COPY lua lua/
COPY static static/
COPY templates templates/
COPY deploy/healthcheck.py deploy/

# Every address, but of the container: publish the port to where only the proxy is.
ENV HOST=0.0.0.0 PORT=8000 PYTHONUNBUFFERED=1
EXPOSE 8000
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "deploy/healthcheck.py"]
CMD ["python", "serve.py"]
