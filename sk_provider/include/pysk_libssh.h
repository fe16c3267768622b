/*
 * Lets a program on libssh 0.12 or newer use security keys through libpysk.so.
 *
 *     struct ssh_sk_callbacks_struct callbacks;
 *     char error[PYSK_LIBSSH_ERROR_SIZE];
 *     if (pysk_libssh_load("/path/of/libpysk.so", &callbacks, error) != 0)
 *             errx(1, "%s", error);
 *     ssh_pki_ctx_options_set(context, SSH_PKI_OPTION_SK_CALLBACKS, &callbacks);
 *
 * `pysk path --api 10` prints the path. Link with -ldl where the C library has no dlopen() of its own.
 */
#ifndef PYSK_LIBSSH_H
#define PYSK_LIBSSH_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <libssh/callbacks.h>

#define PYSK_LIBSSH_ERROR_SIZE 512
#define PYSK_LIBSSH_PATH_SHOWN 256 /* of a path, so that there is room for what is wrong with it */
#define PYSK_LIBSSH_MAJOR_MASK 0xffff0000U

/* Fill in a function pointer; C has no cast from an object's address, POSIX promises that its bytes are the same. */
static inline int
pysk_libssh_find(void *library, const char *symbol, void *function, size_t size)
{
	void *address = dlsym(library, symbol);

	if (address == NULL || size != sizeof(address))
		return -1;
	memcpy(function, &address, size);
	return 0;
}

/*
 * Load a SecurityKeyProvider and fill libssh's callbacks with its functions.
 *
 * path: the library's absolute path. It stays loaded for as long as the process lives.
 * callbacks: set whole on success, else cleared. libssh keeps a pointer to it: it must outlive the contexts it is set in.
 * error: at least PYSK_LIBSSH_ERROR_SIZE bytes, which take a sentence on failure, else an empty string.
 *
 * Returns 0, or -1 if the library cannot be loaded, is no SecurityKeyProvider, or implements another major of the API
 * than this libssh does. Python is not started before the first operation. The operations may be called from any thread,
 * but end with an error in a child that was forked while another was in progress, and after chroot().
 */
static inline int
pysk_libssh_load(const char *path, struct ssh_sk_callbacks_struct *callbacks, char error[PYSK_LIBSSH_ERROR_SIZE])
{
	struct ssh_sk_callbacks_struct found;
	const char *reason;
	size_t length;
	void *library = NULL;
	uint32_t version;
	int status = -1;

	memset(callbacks, 0, sizeof(*callbacks));
	memset(&found, 0, sizeof(found));
	error[0] = '\0';
	if (path == NULL || path[0] != '/') {
		snprintf(error, PYSK_LIBSSH_ERROR_SIZE, "the path of the security key provider is not absolute");
		goto out;
	}
	if ((library = dlopen(path, RTLD_NOW | RTLD_LOCAL)) == NULL) {
		if ((reason = dlerror()) == NULL)
			reason = "unknown";
		/* Most reasons begin with the path. */
		length = strlen(path);
		if (strncmp(reason, path, length) == 0 && strncmp(reason + length, ": ", 2) == 0)
			reason += length + 2;
		snprintf(error, PYSK_LIBSSH_ERROR_SIZE, "cannot load %.*s: %s", PYSK_LIBSSH_PATH_SHOWN, path, reason);
		goto out;
	}
	if (pysk_libssh_find(library, "sk_api_version", &found.api_version, sizeof(found.api_version)) != 0 ||
	    pysk_libssh_find(library, "sk_enroll", &found.enroll, sizeof(found.enroll)) != 0 ||
	    pysk_libssh_find(library, "sk_sign", &found.sign, sizeof(found.sign)) != 0 ||
	    pysk_libssh_find(library, "sk_load_resident_keys", &found.load_resident_keys,
	        sizeof(found.load_resident_keys)) != 0) {
		snprintf(error, PYSK_LIBSSH_ERROR_SIZE, "%.*s is no security key provider", PYSK_LIBSSH_PATH_SHOWN,
		    path);
		goto out;
	}
	version = found.api_version();
	if ((version & PYSK_LIBSSH_MAJOR_MASK) != LIBSSH_SK_API_VERSION_MAJOR) {
		snprintf(error, PYSK_LIBSSH_ERROR_SIZE, "%.*s implements version 0x%08x of the API, and libssh wants 0x%08x",
		    PYSK_LIBSSH_PATH_SHOWN, path, (unsigned int)version, (unsigned int)LIBSSH_SK_API_VERSION_MAJOR);
		goto out;
	}
	ssh_callbacks_init(&found);
	*callbacks = found;
	library = NULL;
	status = 0;
out:
	if (library != NULL)
		dlclose(library);
	return status;
}

#endif
