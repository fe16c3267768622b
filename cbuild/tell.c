/*
 * What a person is told when no Python can tell it: on what the host has as standard error, or in the system's log,
 * which C alone can write without changing it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "pysk.h"

/* How long stderr may take to have room: each look ends early when the host catches a signal. */
#define LOOK_US 100000
#define LOOKS 10

static pthread_once_t streams_once = PTHREAD_ONCE_INIT;
static struct stat first_stderr;
static int had_stderr;

static void
remember_stderr(void)
{
	had_stderr = fstat(STDERR_FILENO, &first_stderr) == 0;
}

/* Whether number 2 still is what it was at the first call, and no file that a host has opened since. */
static int
has_stderr(void)
{
	struct stat now;

	return had_stderr && fstat(STDERR_FILENO, &now) == 0 &&
	    now.st_dev == first_stderr.st_dev &&
	    now.st_ino == first_stderr.st_ino;
}

static int
all_streams_are_open(void)
{
	return fcntl(STDIN_FILENO, F_GETFD) != -1 &&
	    fcntl(STDOUT_FILENO, F_GETFD) != -1 &&
	    fcntl(STDERR_FILENO, F_GETFD) != -1;
}

int
pysk_keep_streams(void)
{
	int fd;

	pthread_once(&streams_once, remember_stderr);
	if (all_streams_are_open())
		return 0;
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd != -1 && fd <= STDERR_FILENO);
	if (fd != -1)
		close(fd);
	/* Without a free number there is none below 3 either; one may be another thread's, which has yet to open it. */
	if (fd != -1 || errno == EMFILE)
		return 0;
	/* Not in the system's log: its socket might become one of them. */
	pysk_write_stderr("libpysk: a standard stream is closed, and "
	    "/dev/null cannot be opened in its place; "
	    "start the program with all three open\n");
	return -1;
}

void
pysk_log(const char *line)
{
	/* Without openlog(): the host's own settings of it stay as they are. */
	syslog(LOG_AUTHPRIV | LOG_ERR, "libpysk: %s", line);
}

void
pysk_log_record(const char *line)
{
	syslog(LOG_AUTHPRIV | LOG_INFO, "libpysk: %s", line);
}

/* Not by poll(2), which takes no more descriptors than the process may open. */
static int
stderr_has_room(void)
{
	struct timeval patience = { .tv_usec = LOOK_US };
	fd_set err;

	FD_ZERO(&err);
	FD_SET(STDERR_FILENO, &err);
	return select(STDERR_FILENO + 1, NULL, &err, NULL, &patience) == 1;
}

int
pysk_write_stderr(const char *line)
{
	size_t len = strlen(line);
	ssize_t taken;
	int looks = 0;

	if (!has_stderr())
		return 0;
	while (len > 0) {
		/* A reader that has stopped must not stop the host. */
		while (!stderr_has_room()) {
			if (++looks == LOOKS)
				return 0;
		}
		/* A pipe that takes anything takes so much at once. */
		taken = write(STDERR_FILENO, line,
		    len < PIPE_BUF ? len : PIPE_BUF);
		if (taken <= 0)
			return 0;
		line += taken;
		len -= (size_t)taken;
	}
	return 1;
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
