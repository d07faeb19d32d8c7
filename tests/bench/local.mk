# SPDX-License-Identifier: Apache-2.0
# make bench: our figures beside those of the peers; BENCHFLAGS=--quick for a first look. Never part of make check.
bench: all
	$(srcdir)/tests/bench/run $(BENCHFLAGS) $(builddir)
.PHONY: bench
