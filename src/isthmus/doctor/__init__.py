"""`isthmus doctor`: what stands between this machine and a gateway, and what to do about it.

    file             question                                          facts by
    ------------------------------------------------------------------------------------------------
    names            is the name known, in both families?              the resolver
    routes           which way does it leave, what answers there?      a connect to each address
    proxy            which proxy, and does it let us through?          what is said to each
    tls              whose certificate is it, is it intercepted?       two handshakes, the gateway's own word
    upgrade          may a WebSocket be opened, with subprotocol?      handshakes, what arrived of a request
    emulation        does what stands in for a blocked one?            an emulated WebSocket
    buffering        do answers come as they are sent?                 pieces with pauses between
    speed            round trip and throughput                         pings, bytes down and up
    idle             is what is silent cut?                            a WebSocket that stays silent
    clock            is it the same time here and there?               the gateway's, or Date

Each has facts, a `judge` that makes a `Finding` of them without any input or output, and a `look` that
gathers the facts in a bounded time. `examination` brings them in order, `recommendation` says what follows,
`report` shows it.
"""
