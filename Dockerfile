# Two stages: the first installs into a virtual environment by hash, the second holds only what runs.
FROM python:3.11-slim AS build
WORKDIR /src
COPY config/constraints.txt config/constraints.txt
RUN python -m venv /opt/precheck \
 && /opt/precheck/bin/pip install --no-cache-dir --require-hashes -r config/constraints.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
RUN /opt/precheck/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/precheck/bin/pip uninstall --yes setuptools pip

FROM python:3.11-slim
COPY --from=build /opt/precheck /opt/precheck
# Everything the worker writes lies under /var/spool/precheck: mount it, and the root may be read-only.
RUN groupadd --gid 10001 precheck \
 && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin precheck \
 && install -d -m 0700 -o precheck -g precheck /var/spool/precheck /var/spool/precheck/in
ENV PATH=/opt/precheck/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PRECHECK_INPUT__URL=dir:/var/spool/precheck/in \
    PRECHECK_OUTPUT__URLS='["jsonl:/var/spool/precheck/out/results.jsonl"]' \
    PRECHECK_STATE__URL=sqlite:/var/spool/precheck/state/ledger.db \
    PRECHECK_TELEMETRY__HTTP=0.0.0.0:9837
WORKDIR /var/spool/precheck
VOLUME ["/var/spool/precheck"]
USER 10001:10001
EXPOSE 9837
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9837/livez', timeout=3)"]
# Exec form: the worker is process 1 and gets the signals. Give it longer than telemetry.drain_s to stop (130 s).
ENTRYPOINT ["precheck-worker"]
CMD ["run"]
