# The image of convoy-backups: the binary, what it is linked with, time zones and certificates; no shell, no package manager.
#
#   docker build -t convoy-backups .
#   docker run -d --name backups -v /var/run/convoy:/var/run/convoy -v backups-data:/var/lib/convoy-backups \
#       -e BKUP_BACKUP_URL=s3://bucket@us-east-1/host1/ --user 0:0 --cap-drop ALL convoy-backups
#
# See docs/containers.md. Built with BuildKit (the default since Docker 23; before: DOCKER_BUILDKIT=1).

# Both of one Debian release: the binary needs a C library no older than the one it was built with.
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm
ARG RUNTIME_IMAGE=debian:12.12-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /source
ENV CARGO_TERM_COLOR=never \
    CARGO_INCREMENTAL=0 \
    CARGO_PROFILE_RELEASE_STRIP=symbols

# The dependencies, in a layer of their own: it is built again only when one of these two files changes. Cargo wants every
# target's file to be there, so for this one step they are empty.
COPY Cargo.toml Cargo.lock ./
RUN set -eu; \
    mkdir src benches tests; \
    touch src/lib.rs; \
    for target in src/main.rs benches/whole_process.rs tests/integration.rs; do echo 'fn main() {}' > "$target"; done; \
    cargo build --release --locked

# The program. Cargo goes by times, and the files copied may be older than the empty ones just built.
COPY . .
ARG REVISION=
RUN touch src/lib.rs src/main.rs && CONVOY_BACKUPS_COMMIT="$REVISION" cargo build --release --locked

# What the program needs of a system, gathered in /system.
FROM ${RUNTIME_IMAGE} AS system
RUN set -eu; \
    if ! [ -e /etc/ssl/certs/ca-certificates.crt ] || ! [ -e /usr/share/zoneinfo/UTC ]; then \
        apt-get update; \
        apt-get install --yes --no-install-recommends ca-certificates tzdata; \
        rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=build /source/target/release/convoy-backups /system/usr/local/bin/convoy-backups
RUN set -eu; \
    cd /system; \
    # Empty where it needs none (a static binary).
    libraries="$(ldd usr/local/bin/convoy-backups | grep --only-matching '/[^ ]*' || true)"; \
    for library in $libraries; do cp --dereference --parents "$library" .; done; \
    mkdir --parents etc/convoy-backups/scripts-rhai etc/ssl/certs usr/share tmp run/convoy var/lib/convoy-backups; \
    ln --symbolic /run var/run; \
    cp --dereference /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/; \
    cp --archive /usr/share/zoneinfo usr/share/; \
    rm -rf usr/share/zoneinfo/right usr/share/zoneinfo/posix; \
    printf 'root:x:0:0:root:/:/sbin/nologin\nbackups:x:10001:10001:convoy-backups:/var/lib/convoy-backups:/sbin/nologin\n' > etc/passwd; \
    printf 'root:x:0:\nbackups:x:10001:\n' > etc/group; \
    # Names in /etc/hosts before those of DNS: without this file it is the other way round.
    echo 'hosts: files dns' > etc/nsswitch.conf; \
    chmod 1777 tmp; \
    # For the user "backups", and for a root without capabilities, who may do only what files' modes say.
    chown 0:10001 var/lib/convoy-backups; \
    chmod 770 var/lib/convoy-backups; \
    usr/local/bin/convoy-backups --version
# A crontab and scripts of your own are mounted over these; without them the ones in the binary are used.
COPY crontab /system/etc/convoy-backups/crontab

FROM scratch
ARG VERSION=
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="convoy-backups" \
      org.opencontainers.image.description="Snapshots, backups, pruning and restores of Docker volumes, for Convoy and without it" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=system /system /

# Convoy's socket is named, so that a Convoy that is not there is an error and never an empty backup.
ENV PATH=/usr/local/bin \
    TZ=Etc/UTC \
    BKUP_CONVOY=unix:///var/run/convoy/convoy.sock \
    BKUP_DATA_DIR=/var/lib/convoy-backups \
    BKUP_SCRIPTS_DIR=/etc/convoy-backups/scripts-rhai \
    BKUP_API_LISTEN=0.0.0.0:3000

# A socket that belongs to root, as Convoy's does, wants --user 0:0 (with --cap-drop ALL): see docs/containers.md.
USER 10001:10001
VOLUME /var/lib/convoy-backups
EXPOSE 3000
# As process 1 it handles signals itself, and it starts no processes that would have to be reaped: no init is needed.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=20s --retries=3 CMD ["convoy-backups", "healthcheck"]
ENTRYPOINT ["convoy-backups"]
CMD ["serve"]
