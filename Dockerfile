# The bridge's image, the gateway of deploy/compose, and the filter, for those who have Docker:
#
#   docker build --target bridge -t sluicegate-bridge .
#   docker build --target filter --output out .
#
# Releases are made by `./dev image`, which needs no Docker and no base image. Images for others also need the licences that it collects.
# Base images have digests, so that a tag that moves changes nothing. Those of Rust and Envoy are not known yet: the weekly workflow shows them.

FROM rust:1.99.1-alpine AS programs
RUN apk add --no-cache bash g++ linux-headers make musl-dev perl
WORKDIR /sluicegate
COPY . .
RUN cargo build --locked --profile dist -p sluicegate-bridge && \
    cargo build --locked --profile wasm -p sluicegate-filter --target wasm32-wasip1 && \
    cargo run --locked --release -p sluicegate-release -- roots >ca-certificates.crt

FROM node:24.19.0-alpine@sha256:d32cdf619f63fe0471182d08996dd516c6275bb5fd31ae06e55a570bd9e1ad43 AS pages
WORKDIR /sluicegate
COPY . .
RUN npm ci --no-audit --no-fund && npm run build -w sluicegate -w live-page

FROM scratch AS filter
COPY --from=programs /sluicegate/target/wasm32-wasip1/wasm/sluicegate_filter.wasm /plugin.wasm

FROM envoyproxy/envoy:v1.40.0 AS gateway
COPY --from=programs /sluicegate/target/wasm32-wasip1/wasm/sluicegate_filter.wasm /etc/envoy/
COPY --from=pages /sluicegate/examples /srv/examples
COPY --from=pages /sluicegate/clients/typescript/dist /srv/clients/typescript/dist
WORKDIR /etc/envoy

FROM scratch AS bridge
COPY --from=programs /sluicegate/target/dist/sluicegate-bridge /sluicegate-bridge
COPY --from=programs /sluicegate/ca-certificates.crt /etc/ssl/certs/
COPY deploy/release/image/bridge.toml /etc/sluicegate/
COPY LICENSE /usr/share/doc/sluicegate/
USER 65532:65532
EXPOSE 7400 7401
ENTRYPOINT ["/sluicegate-bridge"]
CMD ["--config", "/etc/sluicegate/bridge.toml"]
