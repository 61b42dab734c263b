// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools makes `go mod tidy` keep what cnitool needs.
package tools

import _ "github.com/containernetworking/cni/cnitool"
