# SPDX-License-Identifier: Apache-2.0
# Every step of the CI is a script that anybody can run, and what reads source code is a test like any other.
CHECKS = scripts/check-includes scripts/check-links scripts/check-manual scripts/check-planted scripts/check-shell scripts/tidy
dist_noinst_SCRIPTS += $(CHECKS) scripts/build scripts/check scripts/install-deps scripts/summary scripts/test scripts/try \
	tests/scripts/test_check.sh tests/scripts/test_checks tests/scripts/test_mount_helper.sh
EXTRA_DIST += scripts/rooms.py .shellcheckrc
TESTS += $(CHECKS) tests/scripts/test_check.sh tests/scripts/test_checks tests/scripts/test_mount_helper.sh

# The checks above without a build's tests, in seconds.
lint: $(noinst_LIBRARIES) $(bin_PROGRAMS)
	@status=0; for check in $(CHECKS); do $(srcdir)/$$check || test $$? = 77 || status=1; done; exit $$status
.PHONY: lint
EXTRA_DIST += tests/scripts/unit_tests_missing.sh
if !HAVE_CMOCKA
TESTS += tests/scripts/unit_tests_missing.sh
endif
