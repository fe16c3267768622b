/*
 * What happens to a program that starts Python without care: the traps of the tests must catch this one.
 *
 *     naive LIBPYTHON
 */
#include <dlfcn.h>
#include <stdio.h>

int
main(int argc, char **argv)
{
	void (*initialize)(int);
	void *libpython;

	if (argc != 2 || (libpython = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL)) == NULL ||
	    (*(void **)&initialize = dlsym(libpython, "Py_InitializeEx")) == NULL) {
		fprintf(stderr, "naive: %s\n", dlerror());
		return 70;
	}
	initialize(0);
	return 0;
}
