/*
 * Runs a program once and measures it, from a process so small that its own memory is not taken for the program's.
 *
 *     launch SECONDS INPUT OUTPUT PROGRAM [ARGUMENT...]
 *
 * The program gets one end of a socket pair as standard input and output, as ssh-sk-helper does from its clients.
 * Through the other end the content of the file INPUT is sent, and what comes back is written to the file OUTPUT. After
 * SECONDS the program is ended. A line tells the microseconds from before the fork until the end of the program and all
 * that it waited for, their processor's microseconds, the KiB of the largest of them, their page faults, and the program's wait status.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_BYTES (1 << 20)

static int64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static int64_t
microseconds(struct timeval time)
{
	return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

static size_t
read_all(int fd, char *buffer)
{
	size_t have = 0;
	ssize_t count;

	while ((count = read(fd, buffer + have, MAX_BYTES - have)) > 0)
		have += (size_t)count;
	if (count == -1 || have == MAX_BYTES)
		errx(1, "more bytes than expected, or none at all");
	return have;
}

static void
write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t count = write(fd, bytes, len);
		if (count == -1)
			err(1, "write");
		bytes += count;
		len -= (size_t)count;
	}
}

int
main(int argc, char **argv)
{
	static char input[MAX_BYTES], output[MAX_BYTES];
	struct rusage used;
	size_t input_len, output_len;
	int64_t began, ended;
	int file, pair[2], status;
	pid_t child;

	if (argc < 5)
		errx(2, "usage: launch SECONDS INPUT OUTPUT PROGRAM [ARGUMENT...]");
	file = open(argv[2], O_RDONLY);
	if (file == -1)
		err(1, "%s", argv[2]);
	input_len = read_all(file, input);
	close(file);
	file = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (file == -1)
		err(1, "%s", argv[3]);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		err(1, "socketpair");
	began = now();
	child = fork();
	if (child == -1)
		err(1, "fork");
	if (child == 0) {
		alarm((unsigned int)strtoul(argv[1], NULL, 10));
		dup2(pair[1], STDIN_FILENO);
		dup2(pair[1], STDOUT_FILENO);
		execvp(argv[4], argv + 4);
		err(127, "%s", argv[4]);
	}
	close(pair[1]);
	write_all(pair[0], input, input_len);
	shutdown(pair[0], SHUT_WR);
	output_len = read_all(pair[0], output);
	if (wait4(child, &status, 0, &used) == -1)
		err(1, "wait4");
	ended = now();
	write_all(file, output, output_len);
	printf("%lld %lld %ld %ld %d\n", (long long)(ended - began),
	    (long long)(microseconds(used.ru_utime) + microseconds(used.ru_stime)), used.ru_maxrss, used.ru_minflt, status);
	return 0;
}
