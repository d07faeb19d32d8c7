# SPDX-License-Identifier: Apache-2.0
"""A member under strace: what it asks of its disk, written down or made to fail."""

import contextlib
import re
import shutil
import subprocess

import servers


def why_not():
    """Why nothing can be traced here, or None."""
    if not shutil.which("strace"):
        return "strace is not there"
    done = subprocess.run(["strace", "-D", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"strace cannot trace here: {done.stderr.strip()}" if done.returncode else None


@contextlib.contextmanager
def delayed(node, call, seconds):
    """Meanwhile every such call of the running member begins so much later."""
    how = ["-e", f"trace={call}", "-e", f"inject={call}:delay_enter={int(seconds * 1e6)}", "-o", "/dev/null"]
    with subprocess.Popen(["strace", "-f", "-p", str(node.pid), *how], stderr=subprocess.PIPE, text=True) as strace:
        try:
            line = strace.stderr.readline()
            assert "attached" in line, line
            yield
        finally:
            strace.terminate()


def whole_calls(trace):
    """(thread, "name(arguments) = result", line of the begin, line of the end), in order of the ends."""
    begun = {}
    for number, line in enumerate(trace.splitlines()):
        thread, _, text = line.partition(" ")
        text, first = text.strip(), number
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>"), number
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", text):
            text, first = begun.pop(thread, ("", number))
            text += resumed[1]
        yield thread, text, first, number


class Traced(servers.Node):
    """A member under strace -D, which injects, or only writes down: the process is the member itself."""

    inject = None
    watched = ()

    @property
    def trace_path(self):
        """Of the last start under strace."""
        return self.directory / f"{self.name}.trace"

    def command(self):
        if not self.inject and not self.watched:
            return super().command()
        calls = [self.inject.split(":")[0]] if self.inject else [f"?{call}" for call in self.watched]
        injected = ["-e", f"inject={self.inject}"] if self.inject else []
        return ["strace", "-D", "-f", "-qq", "-y", "-o", str(self.trace_path), "-e", f"trace={','.join(calls)}", *injected, *super().command()]

    def trace(self):
        return self.trace_path.read_text(errors="replace")

    def was_struck(self):
        """By an error; a signal leaves no such mark."""
        return "(INJECTED)" in self.trace()
