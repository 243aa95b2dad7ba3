# The module as an image, for those who prefer `docker build` to `make image`. From the top of the project, after `make build`:
#
#   docker build --platform linux/amd64 --provenance=false --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" -t sidegate:0.1.0 .
#
# docs/image.md says why platform and provenance matter. One COPY makes one layer, which is what Istio and Envoy Gateway look into.
FROM scratch
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="sidegate" \
      org.opencontainers.image.description="API management inside Envoy and Istio: API keys, OAuth2 introspection and quotas in one WebAssembly module" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/sidegate/sidegate"
COPY target/wasm32-wasip1/release/sidegate.wasm /plugin.wasm
