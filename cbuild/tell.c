/* What a person is told when no Python can tell it, and the system's log, which C alone can write without changing it. */
#include <stdio.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "pysk.h"

void
pysk_log(const char *line)
{
	/* Without openlog(): the host's own settings of it stay as they are. */
	syslog(LOG_AUTHPRIV | LOG_ERR, "libpysk: %s", line);
}

static int
stderr_is_lost(void)
{
	struct stat err, null;

	return fstat(STDERR_FILENO, &err) != 0 ||
	    (stat("/dev/null", &null) == 0 && err.st_rdev == null.st_rdev);
}

void
pysk_tell(const char *sentence)
{
	char line[PYSK_SENTENCE_MAX + sizeof("libpysk: \n")];
	int len;

	len = snprintf(line, sizeof(line), "libpysk: %s\n", sentence);
	if (len < 0)
		return;
	if ((size_t)len >= sizeof(line))
		len = sizeof(line) - 1;
	if (stderr_is_lost() || write(STDERR_FILENO, line, (size_t)len) != len)
		pysk_log(sentence);
}
