# docker build -t stylegen .                            CUDA 13: run it with --gpus all
# docker build -t stylegen:cpu --build-arg EXTRA=cpu .  CPU
FROM python:3.13-slim
ARG EXTRA=cuda13
WORKDIR /src
COPY . .
# JAX's wheels bring CUDA's libraries with them; the host has the driver.
RUN if [ "$EXTRA" = cpu ]; then extra=""; else extra="[$EXTRA]"; fi && \
    pip install --no-cache-dir -c constraints.txt ".$extra" && rm -rf /src/*
WORKDIR /stylegen
ENTRYPOINT ["stylegen"]
CMD ["--help"]
