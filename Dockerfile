# Two images from one file: `--target collector` and `--target agent`. docker-compose.yml shows how they are
# run. A plain `docker run` of the collector needs TRUECHIMER_DATABASE_URL, as no Postgres is in its image,
# and both listen on the container's loopback until a configuration says otherwise.

FROM node:22-bookworm-slim AS assets
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/assets.sh ./
RUN ./assets.sh

FROM rust:1.94-bookworm AS build
WORKDIR /src
COPY . .
COPY --from=assets /src/web/static/vendor web/static/vendor
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked -p collector -p agent \
    && cp target/dist/truechimer target/dist/truechimer-agent /usr/local/bin/

FROM debian:bookworm-slim AS base
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /var/lib/truechimer truechimer

FROM base AS collector
COPY --from=build /usr/local/bin/truechimer /usr/local/bin/
USER truechimer
VOLUME /var/lib/truechimer
EXPOSE 4460 4461 4462
ENTRYPOINT ["truechimer"]
CMD ["serve"]

FROM base AS agent
COPY --from=build /usr/local/bin/truechimer-agent /usr/local/bin/
# It observes: it needs no capability, and must not have one.
USER truechimer
VOLUME /var/lib/truechimer
EXPOSE 4463
ENTRYPOINT ["truechimer-agent"]
CMD ["run"]
