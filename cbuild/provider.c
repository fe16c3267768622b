/*
 * The functions that a host looks up. Each clears its out-pointers, sees to it that a call does the host no harm, has
 * Python started, hands over, and lets no outcome through that the host could not survive: success without a response
 * above all.
 */
#include <stdio.h>

#include "pysk.h"
#include "layout.h"

#define EXPORTED __attribute__((visibility("default")))

#define ERR_GENERAL (-1)
#define ERR_LOWEST (-5)

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
		    "reinstall sk-provider with pip, or report this as a bug of libpysk");
	else {
		snprintf(sentence, sizeof(sentence), "the call ended with code %d, which no host knows; "
		    "report this as a bug of libpysk", result);
		pysk_tell(sentence);
	}
	return ERR_GENERAL;
}

/* Begins a call; returns 0, or -1 once the person has been told why it cannot be carried out. */
static int
enter(int has_place)
{
	if (pysk_keep_streams() != 0)
		return -1;
	if (!has_place) {
		pysk_tell("the host left no place for the response; "
		    "report this as a bug of the program that asked");
		return -1;
	}
	return pysk_start_python();
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
	int result;

	if (enroll_response != NULL)
		*enroll_response = NULL;
	if (enter(enroll_response != NULL) != 0)
		return ERR_GENERAL;
	result = pysk_enroll(alg, challenge, challenge_len, application, flags,
	    pin, options, enroll_response);
	return outcome(result, *enroll_response != NULL);
}

EXPORTED int
sk_sign(uint32_t alg, const uint8_t *data, size_t data_len,
    const char *application, const uint8_t *key_handle, size_t key_handle_len,
    uint8_t flags, const char *pin, struct sk_option **options,
    struct sk_sign_response **sign_response)
{
	int result;

	if (sign_response != NULL)
		*sign_response = NULL;
	if (enter(sign_response != NULL) != 0)
		return ERR_GENERAL;
	result = pysk_sign(alg, data, data_len, application, key_handle,
	    key_handle_len, flags, pin, options, sign_response);
	return outcome(result, *sign_response != NULL);
}

EXPORTED int
sk_load_resident_keys(const char *pin, struct sk_option **options,
    struct sk_resident_key ***resident_keys, size_t *resident_key_count)
{
	int result, has_place = resident_keys != NULL &&
	    resident_key_count != NULL;

	if (has_place) {
		*resident_keys = NULL;
		*resident_key_count = 0;
	}
	if (enter(has_place) != 0)
		return ERR_GENERAL;
	result = pysk_load_resident_keys(pin, options, resident_keys,
	    resident_key_count);
	/* A host never frees the array of an empty list, so there is none. */
	return outcome(result,
	    (*resident_keys != NULL) == (*resident_key_count != 0));
}
