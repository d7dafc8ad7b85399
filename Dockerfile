# The gateway as an image: docker build --tag imagegate .
# docs/containers.md says how to run it, and which parts of this file were not tried.

# The digest decides, of the index of all machines; the tag is for people. docs/containers.md says how
# to renew both, and what they were compared with.
FROM python:3.13.16-slim-trixie@sha256:70729b46c69b4f1e97c4822c1af3df53a1476cf5ddc6c087c0c10bc3a5678c2f AS base

# ---- build: an environment with the packages that requirements/ locks, and the project ----------
FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# pip stays out of the environment that is shipped. Only wheels: this image has no compiler.
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN python -m venv --without-pip /opt/imagegate \
 && python -m venv /opt/build \
 && /opt/build/bin/pip --python /opt/imagegate install --require-hashes --only-binary :all: \
      -r requirements/runtime.txt \
 && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt

# The root file system is read-only later on: modules not compiled now would be at every start.
COPY pyproject.toml README.md LICENSE ./
COPY app/ app/
COPY imagegate/ imagegate/
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --no-index --wheel-dir /dist . \
 && /opt/build/bin/pip --python /opt/imagegate install --no-deps --no-index /dist/*.whl \
 && /opt/imagegate/bin/python -m compileall -q -f --invalidation-mode unchecked-hash \
      /opt/imagegate/lib

# ---- the image -----------------------------------------------------------------------------------
FROM base

RUN groupadd --gid 10001 imagegate \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data \
      --shell /usr/sbin/nologin imagegate \
 && install --directory --owner=10001 --group=10001 --mode=700 /data

COPY --from=build /opt/imagegate /opt/imagegate

# A container's 127.0.0.1 is its own: to be reached at all, the gateway has to listen on every address
# that the container has, and need a key.
ENV PATH=/opt/imagegate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    IMAGEGATE_HTTP__HOST=0.0.0.0 \
    IMAGEGATE_HTTP__PORT=8080 \
    IMAGEGATE_DATA_DIR=/data

# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /data
# The catalog, and the log when it is the embedded one. /tmp is the only other folder written to.
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM

# Ready: the log is reachable and every event was applied. No proxy is used, whatever the environment
# says, and 127.0.0.1 and ::1 are both tried. It asks itself: whose name the certificate has is nothing
# to check.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-I", "-c", "import http.client, os, ssl, sys; e = os.environ; s = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); s.check_hostname = False; s.verify_mode = ssl.CERT_NONE; a = 'localhost', int(e['IMAGEGATE_HTTP__PORT']); c = http.client.HTTPSConnection(*a, timeout=4, context=s) if e.get('IMAGEGATE_HTTP__TLS_CERT_FILE') else http.client.HTTPConnection(*a, timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]

# imagegate itself is process 1: no shell is in between, so SIGTERM reaches it.
ENTRYPOINT ["imagegate"]
# Beyond loopback it starts only if there is an API key in /data: run the image with `keys new`.
CMD ["serve"]

# Last, because they change with every release.
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="imagegate" \
      org.opencontainers.image.description="An asynchronous REST gateway that stores images in Apache Kafka and streams them back out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13.16-slim-trixie" \
      org.opencontainers.image.base.digest="sha256:70729b46c69b4f1e97c4822c1af3df53a1476cf5ddc6c087c0c10bc3a5678c2f"
