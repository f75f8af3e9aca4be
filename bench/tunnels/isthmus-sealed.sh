#!/bin/bash
# Two isthmus gateways over ws whose carriers are sealed, for the load harness (see bench/README.md).
. "$(dirname "$0")/_lib.sh"
run_ends() {
  rm -f "$RUN/seal.pem"
  pin=$("${ISTHMUS:?the isthmus command}" seal "$RUN/seal.pem" 2>/dev/null) || return 1
  cat >"$RUN/server.toml" <<X
[[service]]
type = "proxy"
accept = "ws://127.0.0.1:$W/"
connect = "tcp://127.0.0.1:$K"
[service.accept-options]
"span.seal.key" = "seal.pem"
X
  cat >"$RUN/client.toml" <<X
[[service]]
type = "proxy"
accept = "tcp://127.0.0.1:$L"
connect = "ws://127.0.0.1:$W/"
[service.connect-options]
"span.seal.pin" = "$pin"
X
  server "$ISTHMUS" start --config "$RUN/server.toml"
  wait_port tcp $W || return 1
  client "$ISTHMUS" start --config "$RUN/client.toml"
}
main "$@"
