#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# scripts/check can fail: a failing test, a test that could not be built, and no test at all make it exit non-zero; skips are told with
# their reasons. A directory whose Makefile plays a run of make check stands in for a build.
set -eu
src=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
failed=0
mkdir -p "$dir/scripts"
cp "$src/scripts/check" "$src/scripts/summary" "$dir/scripts"
# shellcheck disable=SC2016
printf '#!/bin/sh\nmake --quiet -C "$1" all\n' >"$dir/scripts/build"
chmod 755 "$dir/scripts/build"

# play NAME RESULT WORD: one test with that result and that word as the last line of its log; make check ends with MAKE_STATUS.
play() {
    mkdir "$dir/$1"
    cat >"$dir/$1/Makefile" <<EOF
all:
	@touch config.status
check:
	@echo ':global-test-result: $2' >t.trs; echo '$3' >t.log
	@printf '# %s:  1\n' $2 >test-suite.log
	@exit ${MAKE_STATUS:-0}
EOF
    touch "$dir/$1/config.status" -d '1 hour ago'
}

# expect NAME STATUS WORD: scripts/check exits with 0 or not, and says WORD.
expect() {
    status=0
    "$dir/scripts/check" "$dir/$1" >"$dir/out" 2>&1 || status=1
    if [ "$status" != "$2" ] || ! grep -q -- "$3" "$dir/out"; then
        echo "$1: status $status, expected $2 and to read \"$3\":"
        cat "$dir/out"
        failed=1
    fi
}

play passes PASS fine
play fails FAIL 'three is not four'
play skips SKIP 'SKIP: no /dev/fuse'
MAKE_STATUS=2 play breaks PASS fine
play all_skipped SKIP 'SKIPPED [2] x.py:1: no etcd here'
play pytest PASS 'SKIPPED [1] x.py:1: no Go here'
mkdir "$dir/unbuilt"
printf 'all:\ncheck:\n\t@echo cannot compile t.c; exit 2\n' >"$dir/unbuilt/Makefile"

expect passes 0 '^1 passed, 0 failed, 0 skipped$'
expect fails 1 'three is not four'
expect fails 1 '^0 passed, 1 failed, 0 skipped$'
expect skips 1 '^skipped: t: SKIP: no /dev/fuse$' # and nothing passed
expect breaks 1 'check.log tells more'
expect pytest 0 '^skipped: .*no Go here$'
expect all_skipped 1 '^skipped: .*no etcd here$'
expect unbuilt 1 'cannot compile'
exit $failed
