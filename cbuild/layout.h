/* The layouts that hosts were compiled with on 64-bit machines, pinned for each API major. */
#ifndef PYSK_LAYOUT_H
#define PYSK_LAYOUT_H

#include "sk-api.h"

#define PYSK_AT(type, member, offset) \
	_Static_assert(offsetof(struct type, member) == (offset), #type "." #member)
#define PYSK_SIZE(type, size) \
	_Static_assert(sizeof(struct type) == (size), #type)

#if defined(__LP64__)

PYSK_AT(sk_option, name, 0);
PYSK_AT(sk_option, value, 8);
PYSK_AT(sk_option, required, 16);
PYSK_SIZE(sk_option, 24);

PYSK_AT(sk_sign_response, flags, 0);
PYSK_AT(sk_sign_response, counter, 4);
PYSK_AT(sk_sign_response, sig_r, 8);
PYSK_AT(sk_sign_response, sig_r_len, 16);
PYSK_AT(sk_sign_response, sig_s, 24);
PYSK_AT(sk_sign_response, sig_s_len, 32);
PYSK_SIZE(sk_sign_response, 40);

PYSK_AT(sk_resident_key, alg, 0);
PYSK_AT(sk_resident_key, slot, 8);
PYSK_AT(sk_resident_key, application, 16);
PYSK_AT(sk_resident_key, key, 24);

#if PYSK_API_MAJOR >= 0x00090000
PYSK_AT(sk_enroll_response, flags, 0);
#define PYSK_AFTER_FLAGS 8
#else
#define PYSK_AFTER_FLAGS 0
#endif

PYSK_AT(sk_enroll_response, public_key, PYSK_AFTER_FLAGS);
PYSK_AT(sk_enroll_response, public_key_len, PYSK_AFTER_FLAGS + 8);
PYSK_AT(sk_enroll_response, key_handle, PYSK_AFTER_FLAGS + 16);
PYSK_AT(sk_enroll_response, key_handle_len, PYSK_AFTER_FLAGS + 24);
PYSK_AT(sk_enroll_response, signature, PYSK_AFTER_FLAGS + 32);
PYSK_AT(sk_enroll_response, signature_len, PYSK_AFTER_FLAGS + 40);
PYSK_AT(sk_enroll_response, attestation_cert, PYSK_AFTER_FLAGS + 48);
PYSK_AT(sk_enroll_response, attestation_cert_len, PYSK_AFTER_FLAGS + 56);

#if PYSK_API_MAJOR >= 0x00090000
PYSK_AT(sk_enroll_response, authdata, 72);
PYSK_AT(sk_enroll_response, authdata_len, 80);
PYSK_SIZE(sk_enroll_response, 88);
PYSK_AT(sk_resident_key, flags, 112);
PYSK_AT(sk_resident_key, user_id, 120);
PYSK_AT(sk_resident_key, user_id_len, 128);
PYSK_SIZE(sk_resident_key, 136);
#elif PYSK_API_MAJOR >= 0x00070000
PYSK_AT(sk_enroll_response, authdata, 64);
PYSK_AT(sk_enroll_response, authdata_len, 72);
PYSK_SIZE(sk_enroll_response, 80);
PYSK_AT(sk_resident_key, flags, 104);
PYSK_SIZE(sk_resident_key, 112);
#else
PYSK_SIZE(sk_enroll_response, 64);
PYSK_SIZE(sk_resident_key, 88);
#endif

#endif

#endif
