/*
 * The interface between OpenSSH and a SecurityKeyProvider, for every major of the API since OpenSSH 8.2.
 * PYSK_API_MAJOR chooses one: 0x00040000, 0x00050000, 0x00070000, 0x00090000 or 0x000a0000.
 * The builder also preprocesses this file into CFFI's declarations (PYSK_CDEF), so it holds declarations only.
 */
#ifndef PYSK_SK_API_H
#define PYSK_SK_API_H

#ifndef PYSK_CDEF
#include <stddef.h>
#include <stdint.h>
#endif

struct sk_option {
	char *name;
	char *value;
	uint8_t required;
};

struct sk_enroll_response {
#if PYSK_API_MAJOR >= 0x00090000
	uint8_t flags;
#endif
	uint8_t *public_key;
	size_t public_key_len;
	uint8_t *key_handle;
	size_t key_handle_len;
	uint8_t *signature;
	size_t signature_len;
	uint8_t *attestation_cert;
	size_t attestation_cert_len;
#if PYSK_API_MAJOR >= 0x00070000
	uint8_t *authdata;
	size_t authdata_len;
#endif
};

struct sk_sign_response {
	uint8_t flags;
	uint32_t counter;
	uint8_t *sig_r;
	size_t sig_r_len;
	uint8_t *sig_s;
	size_t sig_s_len;
};

struct sk_resident_key {
	uint32_t alg;
	size_t slot;
	char *application;
	struct sk_enroll_response key;
#if PYSK_API_MAJOR >= 0x00070000
	uint8_t flags;
#endif
#if PYSK_API_MAJOR >= 0x00090000
	uint8_t *user_id;
	size_t user_id_len;
#endif
};

#ifndef PYSK_CDEF
uint32_t sk_api_version(void);

int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len,
    const char *application, uint8_t flags, const char *pin,
    struct sk_option **options, struct sk_enroll_response **enroll_response);

int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len,
    const char *application, const uint8_t *key_handle, size_t key_handle_len,
    uint8_t flags, const char *pin, struct sk_option **options,
    struct sk_sign_response **sign_response);

int sk_load_resident_keys(const char *pin, struct sk_option **options,
    struct sk_resident_key ***resident_keys, size_t *resident_key_count);
#endif

#endif
