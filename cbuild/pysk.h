/* What the C files of libpysk.so share. */
#ifndef PYSK_PYSK_H
#define PYSK_PYSK_H

#include <signal.h>

#include "pysk-build.h"
#include "sk-api.h"

/*
 * Starts Python, or joins the one that runs, the first time it is called.
 * Returns 0, or -1 once it has told the person why there is no Python.
 */
int pysk_start_python(void);

/*
 * Opens /dev/null, for good, at whichever of the numbers 0 to 2 nothing is open, so that no file that matters gets one
 * of them: programs write to these without asking. What is open at 2 at the first call is stderr, nothing else.
 * Returns 0, or -1 once it has told the person that it cannot.
 */
int pysk_keep_streams(void);

#define PYSK_SENTENCE_MAX 1024

/* Tells the person a sentence, "<what happened>; <what to do>", as errors.report() does in Python. */
void pysk_tell(const char *sentence);

/* Writes a line to stderr, and returns whether all of it was taken. */
int pysk_write_stderr(const char *line);

/* Writes a line to the system's log: of a failure, or of the record of what was done. */
void pysk_log(const char *line);
void pysk_log_record(const char *line);

/* The signals that a thread let through, and those that were on their way. */
struct pysk_signals {
	sigset_t mask;
	sigset_t pending;
};

/*
 * Keeps from the host, until pysk_release_signals(), the signals that come of writing: to a pipe that nobody reads
 * (SIGPIPE), and beyond the limit of a file's size (SIGXFSZ). They end a host that was never to write there. This
 * thread and those that it starts get errors from their writes instead.
 */
void pysk_hold_signals(struct pysk_signals *before);
void pysk_release_signals(const struct pysk_signals *before);

/*
 * Takes note of SIGINT, SIGTERM, SIGHUP and the end of the program that asked, until pysk_unwatch_interrupts(), which
 * gives the signals their effect.
 */
void pysk_watch_interrupts(void);
void pysk_unwatch_interrupts(void);
int pysk_interrupted(void);

/* Whether this process is OpenSSH's helper, which exists for one operation. */
int pysk_is_helper(void);

/* Whether Python was started by us, for nobody else. */
int pysk_owns_python(void);

/* The folder that holds the package that holds this library, once Python has been started. */
const char *pysk_site_packages(void);

/* Whether so many bytes more can be had, half of them to write to: a process may have limits of its own. */
int pysk_has_memory(size_t size);

/* Imports Python's module _signal without what that does to the host. */
void pysk_import_signal(void);

/* Records why the start failed, as "<what happened>; <what to do>". */
void pysk_start_failed(const char *sentence);

/* Runs CFFI's part of the start: the generated code keeps it to itself. */
int pysk_start_cffi(void);

/* start.py, compiled and marshalled, which the generated code holds. */
const char *pysk_start_code(void);
size_t pysk_start_code_size(void);

/* Whether the program has more rights than whoever started it, so that its environment is not to be trusted. */
int	pysk_is_privileged(void);

/* The Python half, in sk_provider/embed.py: python-calls.h declares it to CFFI. */
int pysk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len,
    const char *application, uint8_t flags, const char *pin,
    struct sk_option **options, struct sk_enroll_response **enroll_response);
int pysk_sign(uint32_t alg, const uint8_t *data, size_t data_len,
    const char *application, const uint8_t *key_handle, size_t key_handle_len,
    uint8_t flags, const char *pin, struct sk_option **options,
    struct sk_sign_response **sign_response);
int pysk_load_resident_keys(const char *pin, struct sk_option **options,
    struct sk_resident_key ***resident_keys, size_t *resident_key_count);

#endif
