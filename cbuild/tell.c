/* What a person is told when no Python can tell it, and the system's log, which C alone can write without changing it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
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

int
pysk_write_stderr(const char *line)
{
	size_t len = strlen(line);
	sigset_t broken_pipe, pending, pending_since, before;
	int is_written, number;

	/*
	 * A pipe that nobody reads any more raises a signal in the thread that
	 * writes, and ends a host that was never to write there.
	 */
	sigemptyset(&broken_pipe);
	sigaddset(&broken_pipe, SIGPIPE);
	if (pthread_sigmask(SIG_BLOCK, &broken_pipe, &before) != 0)
		return 0;
	sigpending(&pending);
	is_written = write(STDERR_FILENO, line, len) == (ssize_t)len;
	sigpending(&pending_since);
	if (sigismember(&pending_since, SIGPIPE) && !sigismember(&pending, SIGPIPE))
		sigwait(&broken_pipe, &number);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return is_written;
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

	if (snprintf(line, sizeof(line), "libpysk: %s\n", sentence) < 0)
		return;
	if (stderr_is_lost() || !pysk_write_stderr(line))
		pysk_log(sentence);
}
