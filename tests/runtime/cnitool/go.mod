// Pins libcni's cnitool; tests/runtime/peers builds it.
module spur/tests/runtime/cnitool

go 1.23

require github.com/containernetworking/cni v1.3.0
