# paceline as an image: docker build -t paceline .
#
#   --build-arg DRIVERS=yes    with the drivers for object stores, Parquet and PostgreSQL, some 150 MB more
#   --build-arg UID=1234       runs as this user, who has to be able to read the files and write the results
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG DRIVERS=no
WORKDIR /src
RUN python -m venv --without-pip /opt/paceline
COPY requirements/image.txt requirements/image-drivers.txt requirements/
RUN case "$DRIVERS" in yes) lock=image-drivers ;; no) lock=image ;; *) echo "DRIVERS is yes or no"; exit 1 ;; esac \
    && pip --python /opt/paceline/bin/python install --no-cache-dir --only-binary :all: --require-hashes \
        -r requirements/$lock.txt
COPY pyproject.toml README.md ./
COPY cli cli
COPY producers producers
COPY worker worker
COPY monitor monitor
COPY sandbox sandbox
COPY config config
COPY paceline paceline
RUN pip --python /opt/paceline/bin/python install --no-cache-dir --no-deps . \
    && /opt/paceline/bin/python -m compileall -q /opt/paceline \
    && /opt/paceline/bin/paceline --version

FROM python:${PYTHON}-slim
ARG UID=1000
ARG REVISION=unknown
LABEL org.opencontainers.image.title="paceline" \
    org.opencontainers.image.description="A bulk runner for hosted document agents" \
    org.opencontainers.image.revision="${REVISION}"
# The folders are there with their rights, so that a new volume put over them gets these too.
RUN useradd --uid "${UID}" --create-home paceline \
    && install -d -o paceline -m 700 /var/lib/paceline \
    && install -d -o paceline -m 755 /files /results
COPY --from=build /opt/paceline /opt/paceline
ENV PATH=/opt/paceline/bin:$PATH \
    PACELINE_HOME=/var/lib/paceline \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER paceline
WORKDIR /home/paceline
VOLUME /var/lib/paceline
# Who runs it knows which part it is, so health checks stand in docker-compose.yml: paceline alive worker
ENTRYPOINT ["paceline"]
CMD ["--help"]
