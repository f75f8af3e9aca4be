#!/bin/bash
# Two isthmus gateways over ws, streams on span, for the load harness (see bench/README.md).
. "$(dirname "$0")/_lib.sh"
run_ends() {
  server "${ISTHMUS:?the isthmus command}" proxy "ws://127.0.0.1:$W/" "tcp://127.0.0.1:$K"
  wait_port tcp $W || return 1
  client "$ISTHMUS" proxy "tcp://127.0.0.1:$L" "ws://127.0.0.1:$W/"
}
main "$@"
