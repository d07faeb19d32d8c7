// SPDX-License-Identifier: Apache-2.0

// Command etcdctl is the unmodified etcdctl of the version in go.mod.
package main

import "go.etcd.io/etcd/etcdctl/v3/ctlv3"

func main() {
	ctlv3.MustStart()
}
