#!/bin/bash
# Two isthmus gateways over wss with masks agreed off, for the load harness (see bench/README.md).
. "$(dirname "$0")/_lib.sh"
run_ends() {
  cat >"$RUN/client.toml" <<X
[security.truststore]
type = "PEM"
file = "$T/authority.pem"
[[service]]
type = "proxy"
accept = "tcp://127.0.0.1:$L"
connect = "wss://127.0.0.1:$W/"
[service.connect-options]
"ws.mask" = "agreed"
X
  server "${ISTHMUS:?the isthmus command}" proxy "wss://127.0.0.1:$W/" "tcp://127.0.0.1:$K" --keystore "$T/both.pem"
  wait_port tcp $W || return 1
  client "$ISTHMUS" start --config "$RUN/client.toml"
}
main "$@"
