FROM python:3.12-slim
WORKDIR /app
COPY requirements/demo.txt requirements/demo.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/demo.txt
COPY . .
RUN pip install --no-cache-dir --no-deps . && useradd --create-home --uid 1000 paceline \
    && install -d -o paceline -m 700 /var/lib/paceline
USER paceline
WORKDIR /home/paceline
ENTRYPOINT ["paceline"]
