# One image for the worker, the server and the command line.
#   docker build -t birdclef .
#   docker run --rm -v birdclef-data:/data -v birdclef-workspace:/workspace -p 127.0.0.1:4200:4200 birdclef
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
# A package index for PyTorch, such as one with CPU-only wheels; empty: the default index.
ARG TORCH_INDEX_URL=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/birdclef
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY birdclef birdclef
COPY cache cache
COPY flows flows
RUN if [ -n "${TORCH_INDEX_URL}" ]; then \
        /opt/birdclef/bin/pip install --index-url "${TORCH_INDEX_URL}" "torch>=2.13,<2.15" "torchvision>=0.28,<0.30"; \
    fi \
    && /opt/birdclef/bin/pip install -e ".[s3]"

FROM ${BASE_IMAGE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini=0.19.* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 birdclef \
    && install -d -o birdclef -g birdclef /workspace /data
COPY --from=build /opt/birdclef /opt/birdclef
COPY --from=build /app /app
COPY configs /app/configs
COPY prefect.yaml /app/
ENV PATH=/opt/birdclef/bin:${PATH} \
    BIRDCLEF_WORKSPACE=/workspace \
    PREFECT_HOME=/workspace/prefect \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PYTHONUNBUFFERED=1
USER birdclef
WORKDIR /app
EXPOSE 4200
ENTRYPOINT ["tini", "--", "birdclef"]
CMD ["serve", "--host", "0.0.0.0"]
