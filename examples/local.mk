# SPDX-License-Identifier: Apache-2.0
dist_noinst_SCRIPTS += examples/three-node/start examples/three-node/mount examples/three-node/try examples/three-node/status \
	examples/three-node/break examples/three-node/stop tests/examples/test_three_node.sh
EXTRA_DIST += examples/three-node/README.md examples/three-node/cluster.sh
TESTS += tests/examples/test_three_node.sh
