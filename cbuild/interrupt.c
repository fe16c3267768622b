/*
 * What signals do during a call. Those that come of our own writing do nothing to the host.
 *
 * SIGINT, SIGTERM, SIGHUP when the terminal goes, or the end of the program that asked end an operation from outside,
 * but a token must be told to stop blinking first. Only in OpenSSH's helper, which exists for one operation of its
 * parent's, and signals only where the host left them alone.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pysk.h"

#define HELPER "ssh-sk-helper"

/* Seconds after a first signal from which another one ends the process, whatever it does; and those that it gets. */
#define MEANT_S 2
#define AT_MOST_S 20

static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

static int watching[SIGNALS];
static volatile sig_atomic_t caught;
static volatile time_t caught_at;
static pid_t parent;

static const int of_writing[] = { SIGPIPE, SIGXFSZ };
#define SIGNALS_OF_WRITING (sizeof(of_writing) / sizeof(of_writing[0]))

void
pysk_hold_signals(struct pysk_signals *before)
{
	sigset_t held;

	sigemptyset(&held);
	for (size_t i = 0; i < SIGNALS_OF_WRITING; i++)
		sigaddset(&held, of_writing[i]);
	sigpending(&before->pending);
	pthread_sigmask(SIG_BLOCK, &held, &before->mask);
}

/* Takes a signal that has come since it was held: it had its effect, an error. */
static void
take(int number)
{
	sigset_t one;
#ifdef __APPLE__
	int taken;
#else
	const struct timespec at_once = { 0 };
	siginfo_t sent;
#endif

	sigemptyset(&one);
	sigaddset(&one, number);
#ifdef __APPLE__
	sigwait(&one, &taken);
#else
	/* What somebody else sent meanwhile is for the host. */
	if (sigtimedwait(&one, &sent, &at_once) == number &&
	    sent.si_pid != getpid())
		kill(getpid(), number);
#endif
}

void
pysk_release_signals(const struct pysk_signals *before)
{
	sigset_t pending;

	sigpending(&pending);
	for (size_t i = 0; i < SIGNALS_OF_WRITING; i++) {
		if (sigismember(&pending, of_writing[i]) &&
		    !sigismember(&before->pending, of_writing[i]))
			take(of_writing[i]);
	}
	pthread_sigmask(SIG_SETMASK, &before->mask, NULL);
}

/*
 * Another package's code may hold Python's lock for good, so that nobody sees what was caught. A terminal that is closed
 * sends two signals at once.
 */
static void
catch_signal(int number)
{
	struct timespec now = { 0 };
	int before = errno;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (caught == 0) {
		caught_at = now.tv_sec;
		alarm(AT_MOST_S);
	} else if (now.tv_sec - caught_at >= MEANT_S) {
		signal(number, SIG_DFL);
		raise(number);
	}
	caught = number;
	errno = before;
}

int
pysk_interrupted(void)
{
	return caught != 0 || (parent != 0 && getppid() != parent);
}

int
pysk_is_helper(void)
{
#ifdef __GLIBC__
	return strcmp(program_invocation_short_name, HELPER) == 0;
#else
	return 0;
#endif
}

void
pysk_watch_interrupts(void)
{
	struct sigaction action, current;

	if (!pysk_is_helper())
		return;
	parent = getppid();
	memset(&action, 0, sizeof(action));
	action.sa_handler = catch_signal;
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < SIGNALS; i++) {
		watching[i] = sigaction(signals[i], NULL, &current) == 0 &&
		    !(current.sa_flags & SA_SIGINFO) &&
		    current.sa_handler == SIG_DFL &&
		    sigaction(signals[i], &action, NULL) == 0;
	}
}

void
pysk_unwatch_interrupts(void)
{
	int number;

	for (size_t i = 0; i < SIGNALS; i++) {
		if (watching[i])
			signal(signals[i], SIG_DFL);
		watching[i] = 0;
	}
	/* Only now: until the last handler was gone, another signal could come. */
	number = caught;
	if (number != 0)
		alarm(0);
	caught = 0;
	parent = 0;
	/* The process ends by the signal that it was sent, as it would have at once. */
	if (number != 0)
		raise(number);
}
