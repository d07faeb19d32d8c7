dist_noinst_SCRIPTS += scripts/build scripts/check-includes scripts/install-deps scripts/test scripts/try
TESTS += scripts/check-includes
