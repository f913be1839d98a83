# The base can be pinned: --build-arg BASE_IMAGE=python:3.13-slim@sha256:...
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.txt requirements-build.txt ./
RUN python -m venv --without-pip /opt/qsticky \
    && pip --python /opt/qsticky install --require-hashes --only-binary :all: -r requirements.txt \
    && pip install --require-hashes --only-binary :all: -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY qsticky qsticky
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/qsticky install --no-index --no-deps dist/*.whl

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="qSticky" \
      org.opencontainers.image.description="Keeps qBittorrent really listening on the port that Gluetun was given, and shows whether it does." \
      org.opencontainers.image.source="https://github.com/qsticky/qsticky" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /opt/qsticky /opt/qsticky
ENV PATH=/opt/qsticky/bin:$PATH
# Nothing is installed from here on. What qSticky imports of the standard library, which the base
# has as source only, is compiled now rather than at each start and health check.
RUN rm -r "$(python -c 'import ensurepip; print(*ensurepip.__path__)')" \
    && PYTHONDONTWRITEBYTECODE=1 pip uninstall --yes --root-user-action=ignore pip \
    && python -c 'import qsticky.cli, qsticky.daemon, qsticky.healthcheck' \
    && python -c 'from qsticky.record import addresses; addresses.parse("json://localhost")'
ARG REVISION=unknown
LABEL org.opencontainers.image.revision=${REVISION}
ENV QSTICKY_REVISION=${REVISION} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 10058
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["qsticky", "healthcheck"]
ENTRYPOINT ["qsticky"]
