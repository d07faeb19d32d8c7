// SPDX-License-Identifier: Apache-2.0

// Command rounds records what clients of a cluster saw while it was disturbed, and judges it. tests/rounds/ runs it.
//
//	rounds load OPTIONS        clients through gRPC and through mounts, until standard input ends
//	rounds check HISTORY...    are the recorded histories linearizable?
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "check" {
		os.Exit(judge(os.Args[2:]))
	}
	if len(os.Args) > 2 && os.Args[1] == "load" {
		os.Exit(load(os.Args[2:]))
	}
	fmt.Fprintln(os.Stderr, "usage: rounds check HISTORY... | rounds load OPTIONS")
	os.Exit(2)
}
