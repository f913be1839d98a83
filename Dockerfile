FROM python:3.13-slim
COPY requirements.txt /tmp/
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.txt
WORKDIR /app
COPY qsticky qsticky
ENV PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 10058
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-m", "qsticky", "healthcheck"]
ENTRYPOINT ["python", "-m", "qsticky"]
