#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# examples/three-node as a new user runs it: start, mount, try, break, start again, stop. Without /dev/fuse the mounts are left out,
# and that is told.
set -eu
src=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${top_builddir:-.}" && pwd)
demo=$src/examples/three-node
dir=$(mktemp -d)
export RAFTD="${RAFTD:-$build/raftd/raftd}" RAFTFS="${RAFTFS:-$build/fsd/raftfs}" DEMO_DIR="$dir/a demo"

# Ports below the kernel's range for outgoing connections, of which nothing listens on any that we use.
DEMO_PORT=$(python3 - <<'EOF'
import random, socket
def is_free(port):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
while True:
    base = random.randrange(20000, 31000)
    if all(is_free(base + n) for n in (1, 2, 3, 11, 12, 13)):
        break
print(base)
EOF
)
export DEMO_PORT

finish() {
    status=$?
    [ "$status" = 0 ] || { tail -n 5 "$DEMO_DIR"/*.log || true; }
    "$demo/stop" >/dev/null || true
    rm -rf --one-file-system "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

fail() {
    echo "FAILED: $*"
    exit 1
}

# says WORDS SCRIPT [ARGUMENT...]: it ends well and says that, a regular expression.
says() {
    words=$1 script=$2
    shift 2
    echo "\$ $script $*"
    "$demo/$script" "$@" >"$dir/said" 2>&1 || { cat "$dir/said"; fail "$script ended with an error"; }
    cat "$dir/said"
    [ -z "$words" ] || grep -qE -- "$words" "$dir/said" || fail "$script does not say \"$words\""
}

says 'leads; logs and data' start
says 'runs already' start a
says '^leader: [abc]$' status
mounted=''
why="no /dev/fuse, or closed to us"
if [ -c /dev/fuse ] && [ -w /dev/fuse ]; then
    says '^c is mounted' mount
    mounted=yes
    says '^10$' try
    [ "$(cat "$DEMO_DIR/mnt/b/.linearizable/app/limit")" = 10 ] || fail "b does not read what a wrote"
fi
first=$("$demo/status" | sed -n 's/^leader: //p')
says "another|leads now" break
second=$("$demo/status" | sed -n 's/^leader: //p')
if [ -z "$second" ] || [ "$second" = "$first" ]; then fail "$first was killed, and now \"$second\" leads"; fi
says "^$first: does not run" status
says "^$first runs, process" start
for node in a b c; do
    [ -z "$mounted" ] && break
    grep -q "without $first" "$DEMO_DIR/mnt/$node/.linearizable/note" || fail "$node lacks what was written meanwhile"
done
says "^$first has ended" stop
says '^c: does not run' status
says '' stop --clean
[ ! -e "$DEMO_DIR" ] || fail "$DEMO_DIR is still there"
[ -n "$mounted" ] || echo "SKIPPED the mounts of examples/three-node: $why"
