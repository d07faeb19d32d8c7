#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mount.raftfs turns what mount(8) calls it with into the words of raftfs. A raftfs that only prints its words stands in.
set -eu
src=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
printf '#!/bin/sh\nprintf "<%%s>" "$@"\n' >"$dir/raftfs"
sed "s|@bindir[@]|$dir|" "$src/etc/mount.raftfs.in" >"$dir/mount.raftfs"
chmod 755 "$dir/raftfs" "$dir/mount.raftfs"

failed=0
# expect STATUS WORDS ARGUMENT...
expect() {
    status=$1 words=$2
    shift 2
    said=0
    got=$("$dir/mount.raftfs" "$@" 2>"$dir/error") || said=$?
    if [ "$said" != "$status" ] || [ "$got" != "$words" ]; then
        echo "mount.raftfs $*: status $said, words $got; expected status $status, words $words"
        cat "$dir/error"
        failed=1
    fi
}

expect 0 '<-o><rw,prefix=/a/><http://h:1,http://i:1></mnt/x y>' http://h:1,http://i:1 '/mnt/x y' -o rw,prefix=/a/
expect 0 '<-o><rw></mnt>' none /mnt -o rw
expect 0 '<http://h:1></mnt>' http://h:1 /mnt
expect 0 '<-o><rw,ro><http://h:1></mnt>' http://h:1 /mnt -n -v -s -o rw -o ro -t raftfs
expect 0 '<-o><rw,commit=close><http://h:1></mnt>' http://h:1 /mnt -o rw,nofail,x-systemd.automount,_netdev,commit=close,user
expect 0 '<http://h:1></mnt>' http://h:1 /mnt -o defaults,noauto
expect 0 '' http://h:1 /mnt -f -o rw # mount --fake mounts nothing
expect 1 '' http://h:1 /mnt -N 1 -o rw
expect 1 '' http://h:1
expect 1 '' http://h:1 /mnt -x
expect 1 '' http://h:1 /mnt -o rw more
exit $failed
