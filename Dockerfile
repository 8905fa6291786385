# Builds one image for the command line, the worker and the server; docs/containers.md has the commands.
#   docker build -t birdclef .                                        PyTorch of the default index: with CUDA on x86-64
#   docker build --build-arg TORCH_INDEX_URL=URL -t birdclef:cpu .    PyTorch of another index, such as CPU-only
# Python 3.11.16; the digest holds for each architecture. docs/containers.md says how to renew it and the packages.
ARG BASE_IMAGE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE_IMAGE} AS build
ARG TORCH_INDEX_URL=
# Optional dependencies of pyproject.toml to install, such as s3,onnx.
ARG EXTRAS=s3
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY pyproject.toml setup.py README.md LICENSE ./
COPY birdclef birdclef
COPY cache cache
COPY configs configs
COPY flows flows
COPY requirements requirements
# The final stage gets no pip: the pip of the base image installs into the virtual environment from outside.
RUN python3 -m venv --without-pip /opt/birdclef \
    && if [ -n "${TORCH_INDEX_URL}" ]; then \
        grep -oE '^torch(vision)?==[0-9.]+' requirements/all.txt > /tmp/torch.txt \
        && pip --python /opt/birdclef/bin/python install --no-deps --index-url "${TORCH_INDEX_URL}" -r /tmp/torch.txt \
        && locked=without-torch; \
    else locked=all; fi \
    && pip --python /opt/birdclef/bin/python install --no-deps --require-hashes -r "requirements/${locked}.txt" \
    && pip --python /opt/birdclef/bin/python install --no-build-isolation --editable ".[${EXTRAS}]" \
    && /opt/birdclef/bin/python -m compileall -q /app
COPY prefect.yaml ./
RUN python3 -m venv /opt/sbom \
    && /opt/sbom/bin/pip install --no-deps --require-hashes -r requirements/sbom.txt \
    && mkdir -p /opt/birdclef/share/doc/birdclef \
    && /opt/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
        --output-file /opt/birdclef/share/doc/birdclef/sbom.json /opt/birdclef/bin/python

FROM ${BASE_IMAGE}
# The commit that the image was built from.
ARG REVISION=
LABEL org.opencontainers.image.title="birdclef" \
    org.opencontainers.image.description="From a folder of labelled bird recordings to evaluated species classifiers." \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.revision="${REVISION}"
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini=0.19.* \
    && rm -rf /var/lib/apt/lists/* \
    && pip uninstall --yes pip setuptools wheel \
    && useradd --uid 1000 --home-dir /workspace/home --no-create-home birdclef \
    && install -d -o birdclef -g birdclef /workspace /data
COPY --from=build /opt/birdclef /opt/birdclef
COPY --from=build /app /app
# All writes, also those to caches of libraries, go to the workspace or to /tmp: the root file system may be read-only.
ENV PATH=/opt/birdclef/bin:${PATH} \
    HOME=/workspace/home \
    BIRDCLEF_WORKSPACE=/workspace \
    PREFECT_HOME=/workspace/prefect \
    PREFECT_UI_STATIC_DIRECTORY=/tmp/prefect-ui \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /app
VOLUME ["/workspace", "/data"]
EXPOSE 4200
# The same check as `birdclef health`, but it does not load the modules of the other commands.
HEALTHCHECK --interval=30s --timeout=20s --start-period=180s --retries=3 CMD ["python", "-m", "flows.monitoring.health"]
ENTRYPOINT ["tini", "--", "birdclef"]
CMD ["serve", "--host", "0.0.0.0"]
