# SPDX-License-Identifier: Apache-2.0
# Tests with processes and mounts: every file of pytest is one test of make check, run by tests/run-pytest (C unit tests stand with
# the room they test). What they need and a machine does not have skips them, with the reason.
TEST_EXTENSIONS = .py
PY_LOG_COMPILER = $(SHELL) $(top_srcdir)/tests/run-pytest
AM_TESTS_ENVIRONMENT = top_builddir='$(abs_top_builddir)'; export top_builddir; PYTHON='$(PYTHON)'; export PYTHON;

pytest_files = \
	tests/cluster/test_crash.py \
	tests/cluster/test_handshake.py \
	tests/cluster/test_long_ranges.py \
	tests/cluster/test_partition.py \
	tests/cluster/test_replication.py \
	tests/cluster/test_segments.py \
	tests/cluster/test_start.py \
	tests/compat/test_client.py \
	tests/compat/test_etcdctl.py
TESTS += $(pytest_files)

EXTRA_DIST += $(pytest_files) \
	tests/bench \
	tests/cluster/conftest.py tests/cluster/writers.py \
	tests/compat \
	tests/peers \
	tests/run-pytest

# What Python left beside its sources is no part of a release.
dist-hook:
	find $(distdir) -name __pycache__ -prune -exec rm -rf {} +

include tests/bench/local.mk
