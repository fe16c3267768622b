/*
 * OpenSSH's helper, by its name, to which a signal comes at the last moment of an operation: just before its handler is
 * taken away. The signal's number is the argument.
 */
#include <signal.h>
#include <stdlib.h>

static int late;

static void
(*restore(int number, void (*handler)(int)))(int)
{
	if (number == late)
		raise(number);
	return signal(number, handler);
}

#define signal(number, handler) restore(number, handler)
#include "interrupt.c"

int
main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	late = atoi(argv[1]);
	pysk_watch_interrupts();
	pysk_unwatch_interrupts();
	return 0;
}
