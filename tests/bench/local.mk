# SPDX-License-Identifier: Apache-2.0
# make bench: our figures beside those of the peers; BENCHFLAGS=--quick for a first look. Never part of make check.
EXTRA_DIST += \
	tests/bench/README.md \
	tests/bench/bench.py \
	tests/bench/load.py \
	tests/bench/minfuse.c \
	tests/bench/mount.py \
	tests/bench/report.py \
	tests/bench/run

bench: all
	$(srcdir)/tests/bench/run $(BENCHFLAGS) $(builddir)
.PHONY: bench
