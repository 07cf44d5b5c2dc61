# A static program, certificates, and nothing else: no shell, no package manager, no root.
#
#     docker build -t wdt-lake .
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/lake:/data/lake" wdt-lake demo --lake /data/lake
#
# The program ends itself on SIGTERM and SIGINT as the first process too, so that `--init` and tini have nothing to do.

# An image of a mirror serves as well; it must be one of Alpine, where Rust builds static programs.
ARG RUST_IMAGE=docker.io/library/rust:1.95-alpine

# Its C compiler and the headers of musl are all that the C code of dependencies needs (aws-lc, without cmake; zstd). It was tried
# with musl-gcc, which knows no headers of Linux.
FROM ${RUST_IMAGE} AS build
WORKDIR /source
COPY . .
# `dist` builds longer and is the fastest. `release` builds in a fraction of that.
ARG PROFILE=dist
RUN cargo build --locked --profile "${PROFILE}" \
    && install -D "target/${PROFILE}/wdt-lake" /image/usr/bin/wdt-lake \
    && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && install -d -m 1777 /image/tmp \
    && install -d -m 1777 /image/data

FROM scratch
COPY --from=build /image/ /
WORKDIR /data
USER 65532:65532
ENTRYPOINT ["/usr/bin/wdt-lake"]
