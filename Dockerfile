# Built on the machine that runs it: `docker compose up --build`. The gateway needs Linux and nothing else at run time.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin tollgate && strip --strip-debug target/release/tollgate

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/tollgate --create-home tollgate
COPY --from=build /src/target/release/tollgate /usr/local/bin/tollgate
USER tollgate
WORKDIR /var/lib/tollgate
VOLUME /var/lib/tollgate
EXPOSE 9080 9180
ENTRYPOINT ["tollgate"]
CMD ["run", "--config", "/etc/tollgate/config.yaml"]
