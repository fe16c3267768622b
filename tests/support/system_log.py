"""What a process writes to the system's log, in a file instead."""

from __future__ import annotations

import subprocess
from pathlib import Path

# Takes the place of the C library's functions. A line is written at once, for threads write beside each other.
_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void append(int priority, const char *format, va_list arguments) {
    int log = open("%s", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    char *message, *line;
    if (log < 0) return;
    if (vasprintf(&message, format, arguments) < 0) abort();
    int length = asprintf(&line, "%d %s\n", priority, message);
    if (length < 0 || write(log, line, length) != length) abort();
    free(line); free(message); close(log);
}
void syslog(int priority, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format); append(priority, format, arguments); va_end(arguments);
}
void __syslog_chk(int priority, int flag, const char *format, ...) {
    va_list arguments; (void)flag;
    va_start(arguments, format); append(priority, format, arguments); va_end(arguments);
}
"""


class SystemLog:
    """Stands in for the log of every process that is started with ``variables`` in its environment."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "system.log"
        source, library = folder / "system_log.c", folder / "system_log.so"
        source.write_text(_SOURCE.replace("%s", str(self._file), 1))
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
        self.variables = {"LD_PRELOAD": str(library)}

    def lines(self) -> list[str]:
        """Return what was written up to now."""
        return [line for _, line in self.entries()]

    def entries(self) -> list[tuple[int, str]]:
        """Return what was written up to now, each line with its facility and level as syslog(3) takes them."""
        content = self._file.read_text() if self._file.exists() else ""
        return [(int(line.partition(" ")[0]), line.partition(" ")[2]) for line in content.splitlines()]
