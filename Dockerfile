# For machines with NVIDIA GPUs: their driver and the container toolkit are all that the host needs,
# the libraries of CUDA come with PyTorch. Without a GPU: --build-arg TORCH=cpu.
#
#   docker build -t hep2gan .
#   docker run --rm --init --gpus all --shm-size 1g --user "$(id -u):$(id -g)" -v "$PWD:/work" hep2gan \
#       hep2gan-train data=phantom scale=laptop
FROM python:3.12-slim-trixie

# torch.compile needs a compiler. Debian keeps one version a release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/hep2gan
ARG TORCH=locked
ENV PIP_NO_CACHE_DIR=1
# The packages first: a change of the code leaves this layer as it is.
COPY Makefile pyproject.toml requirements.lock requirements-dev.lock README.md LICENSE ./
RUN mkdir hep2gan conf && touch hep2gan/__init__.py && make setup TORCH="$TORCH" PYTHON=python3
COPY conf conf
COPY hep2gan hep2gan
COPY experiments experiments

# Any user may run it: what is written goes to /work, or under a home that everybody may write.
RUN useradd --uid 1000 --create-home hep2gan && chmod 1777 /home/hep2gan && mkdir /work && chown hep2gan /work
ENV PATH=/opt/hep2gan/.venv/bin:$PATH HOME=/home/hep2gan USER=hep2gan
USER 1000
WORKDIR /work
CMD ["hep2gan-train", "--help"]
