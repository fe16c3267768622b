/*
 * The functions that a host looks up. Each clears its out-pointers, sees to it that a call does the host no harm, has
 * Python started, hands over, and lets no outcome through that the host could not survive: success without a response
 * above all.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "pysk.h"
#include "layout.h"

#define EXPORTED __attribute__((visibility("default")))

#define ERR_GENERAL (-1)
#define ERR_LOWEST (-5)

/* What a call changes for the host's thread, as it was before. */
struct before {
	struct pysk_signals signals;
	int cancel_state;
};

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static atomic_int calls; /* that have begun and not ended */
static int is_orphan;

/* In a new child: whatever lock a thread in a call held, of Python or of the C library, nobody will ever release. */
static void
note_fork(void)
{
	if (atomic_load(&calls) > 0)
		is_orphan = 1;
}

static void
watch_forks(void)
{
	pthread_atfork(NULL, NULL, note_fork);
}

/* Hosts know a few negative codes; CFFI's own answer to a failed call is 0. */
static int
outcome(int result, int has_response)
{
	char sentence[PYSK_SENTENCE_MAX];

	if (result == 0 && has_response)
		return 0;
	if (result < 0 && result >= ERR_LOWEST)
		return result;
	if (result == 0)
		pysk_tell("the call ended without a response; "
		    "reinstall libpysk, or report this as a bug of libpysk");
	else {
		snprintf(sentence, sizeof(sentence), "the call ended with code %d, which no host knows; "
		    "report this as a bug of libpysk", result);
		pysk_tell(sentence);
	}
	return ERR_GENERAL;
}

/* Begins a call, which leave() ends; returns 0, or -1 once it has told the person why there can be none. */
static int
enter(struct before *before, int has_place)
{
	pthread_once(&fork_once, watch_forks);
	/* A thread that ended within a call would keep Python's locks. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before->cancel_state);
	atomic_fetch_add(&calls, 1);
	pysk_hold_signals(&before->signals);
	if (is_orphan) {
		/* The system's log has a lock, too. */
		pysk_write_stderr("libpysk: this process was forked from "
		    "one that was using an authenticator at that moment; "
		    "fork when no call is in progress\n");
		return -1;
	}
	if (pysk_keep_streams() != 0)
		return -1;
	if (!has_place) {
		pysk_tell("the host left no place for the response; "
		    "report this as a bug of the program that asked");
		return -1;
	}
	return pysk_start_python();
}

static int
leave(const struct before *before, int result)
{
	pysk_release_signals(&before->signals);
	atomic_fetch_sub(&calls, 1);
	pthread_setcancelstate(before->cancel_state, NULL);
	return result;
}

EXPORTED uint32_t
sk_api_version(void)
{
	return PYSK_API_MAJOR;
}

EXPORTED int
sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len,
    const char *application, uint8_t flags, const char *pin,
    struct sk_option **options, struct sk_enroll_response **enroll_response)
{
	struct before before;
	int result = ERR_GENERAL;

	if (enroll_response != NULL)
		*enroll_response = NULL;
	if (enter(&before, enroll_response != NULL) == 0) {
		result = pysk_enroll(alg, challenge, challenge_len,
		    application, flags, pin, options, enroll_response);
		result = outcome(result, *enroll_response != NULL);
		/* Some hosts free what they find, and by now it may be freed. */
		if (result != 0)
			*enroll_response = NULL;
	}
	return leave(&before, result);
}

EXPORTED int
sk_sign(uint32_t alg, const uint8_t *data, size_t data_len,
    const char *application, const uint8_t *key_handle, size_t key_handle_len,
    uint8_t flags, const char *pin, struct sk_option **options,
    struct sk_sign_response **sign_response)
{
	struct before before;
	int result = ERR_GENERAL;

	if (sign_response != NULL)
		*sign_response = NULL;
	if (enter(&before, sign_response != NULL) == 0) {
		result = pysk_sign(alg, data, data_len, application,
		    key_handle, key_handle_len, flags, pin, options,
		    sign_response);
		result = outcome(result, *sign_response != NULL);
		if (result != 0)
			*sign_response = NULL;
	}
	return leave(&before, result);
}

EXPORTED int
sk_load_resident_keys(const char *pin, struct sk_option **options,
    struct sk_resident_key ***resident_keys, size_t *resident_key_count)
{
	struct before before;
	int result = ERR_GENERAL;
	int has_place = resident_keys != NULL && resident_key_count != NULL;

	if (has_place) {
		*resident_keys = NULL;
		*resident_key_count = 0;
	}
	if (enter(&before, has_place) == 0) {
		result = pysk_load_resident_keys(pin, options, resident_keys,
		    resident_key_count);
		/* A host never frees the array of an empty list, so there is none. */
		result = outcome(result,
		    (*resident_keys != NULL) == (*resident_key_count != 0));
		if (result != 0) {
			*resident_keys = NULL;
			*resident_key_count = 0;
		}
	}
	return leave(&before, result);
}
