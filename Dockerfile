# Two stages: the first installs into a virtual environment by hash, the second holds only what runs.
FROM python:3.11-slim AS build
# constraints-all.txt for an image with the brokers' libraries
ARG CONSTRAINTS=constraints.txt
WORKDIR /src
COPY config/${CONSTRAINTS} config/${CONSTRAINTS}
RUN python -m venv /opt/precheck \
 && /opt/precheck/bin/pip install --no-cache-dir --require-hashes -r "config/${CONSTRAINTS}"
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
RUN /opt/precheck/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/precheck/bin/pip uninstall --yes setuptools pip

FROM python:3.11-slim
COPY --from=build /opt/precheck /opt/precheck
# The default paths start at the working folder, so all that is written lies in /srv/precheck/spool: mount that, and the
# root may be read-only. No variable names a path here, for variables win over a settings file.
RUN groupadd --gid 10001 precheck \
 && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin precheck \
 && install -d -m 0700 -o precheck -g precheck /srv/precheck/spool /srv/precheck/spool/in
ENV PATH=/opt/precheck/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PRECHECK_TELEMETRY__HTTP=0.0.0.0:9837
WORKDIR /srv/precheck
VOLUME ["/srv/precheck/spool"]
USER 10001:10001
EXPOSE 9837
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9837/livez', timeout=3)"]
# Exec form: the worker is process 1 and gets the signals. Give it longer than telemetry.drain_s to stop (130 s).
ENTRYPOINT ["precheck-worker"]
CMD ["run"]
