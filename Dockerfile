# The server on a CPU, with the shipped model. The data folder is a volume.
#
#   docker build --target cpu -t vicmae .
#   docker run -p 127.0.0.1:8000:8000 -v vicmae-data:/data -v ~/Videos:/library:ro vicmae
#   docker exec CONTAINER vicmae index /library --data /data
#
# It listens beyond its container, so it asks for a key, which is made once (and shown once):
#
#   docker run --rm -v vicmae-data:/data vicmae vicmae keys create me --scope admin
FROM python:3.11-slim AS cpu
RUN useradd --create-home vicmae && mkdir /data && chown vicmae /data
COPY . /tmp/vicmae
RUN pip install --no-cache-dir /tmp/vicmae && rm -rf /tmp/vicmae
USER vicmae
VOLUME /data
EXPOSE 8000
ENV VICMAE_DATA=/data
CMD ["vicmae", "serve", "--host", "0.0.0.0"]
