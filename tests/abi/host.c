/*
 * A host of a SecurityKeyProvider: it opens the library as OpenSSH does, plays one scenario, and tells what it saw.
 *
 *     host SCENARIO LIBRARY [ARGUMENT...]
 *
 * The interface is restated here from what OpenSSH's hosts were compiled with, not taken from the library's header:
 * the two are held against each other by running. SK_MAJOR chooses the major of the interface.
 * Results are lines of JSON on what was standard output; whatever else writes there is counted as noise.
 * Before each call its label goes to stderr as "> LABEL", so that the library's sentences can be told apart.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SK_MAJOR
#define SK_MAJOR 10
#endif

#define FD_MAX 256
#define THREADS 8
#define CHILDREN 3
#define RESULT_BUFFER (4U << 20)
#define LONG_MESSAGE (1U << 20)
#define LONG_HANDLE (64U << 10)
#define MEMORY_STEP (512U << 10)
#define THREAD_STACK (8U << 20)
#define DEADLINE_SECONDS 240
#define POISON ((void *)(uintptr_t)0x5a5a5a5a5a5a5a58)

/* SA_RESTORER: the C library passes it on to the kernel, with SIG_DFL too, where a program begins without it. */
#define ADDED_BY_LIBC 0x04000000

#define ALG_ECDSA 0
#define ALG_ED25519 1
#define FLAG_UP 0x01
#define FLAG_UV 0x04
#define FLAG_RK 0x20

struct option {
	char *name;
	char *value;
	uint8_t required;
};

struct enroll_response {
#if SK_MAJOR >= 9
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
#if SK_MAJOR >= 7
	uint8_t *authdata;
	size_t authdata_len;
#endif
};

struct sign_response {
	uint8_t flags;
	uint32_t counter;
	uint8_t *sig_r;
	size_t sig_r_len;
	uint8_t *sig_s;
	size_t sig_s_len;
};

struct resident_key {
	uint32_t alg;
	size_t slot;
	char *application;
	struct enroll_response key;
#if SK_MAJOR >= 7
	uint8_t flags;
#endif
#if SK_MAJOR >= 9
	uint8_t *user_id;
	size_t user_id_len;
#endif
};

/* Offsets and sizes as the compilers of 64-bit OpenSSH releases lay them out: 8.2, 8.3, 8.4-8.8, 8.9-9.0, 9.1 on. */
#if UINTPTR_MAX == UINT64_MAX
#define AT(type, member, offset) _Static_assert(offsetof(struct type, member) == (offset), #type "." #member)
#define SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)

AT(option, name, 0);
AT(option, value, 8);
AT(option, required, 16);
SIZE(option, 24);

AT(sign_response, flags, 0);
AT(sign_response, counter, 4);
AT(sign_response, sig_r, 8);
AT(sign_response, sig_r_len, 16);
AT(sign_response, sig_s, 24);
AT(sign_response, sig_s_len, 32);
SIZE(sign_response, 40);

AT(resident_key, alg, 0);
AT(resident_key, slot, 8);
AT(resident_key, application, 16);
AT(resident_key, key, 24);

#if SK_MAJOR == 4 || SK_MAJOR == 5
AT(enroll_response, public_key, 0);
AT(enroll_response, public_key_len, 8);
AT(enroll_response, key_handle, 16);
AT(enroll_response, key_handle_len, 24);
AT(enroll_response, signature, 32);
AT(enroll_response, signature_len, 40);
AT(enroll_response, attestation_cert, 48);
AT(enroll_response, attestation_cert_len, 56);
SIZE(enroll_response, 64);
SIZE(resident_key, 88);
#elif SK_MAJOR == 7
AT(enroll_response, public_key, 0);
AT(enroll_response, public_key_len, 8);
AT(enroll_response, key_handle, 16);
AT(enroll_response, key_handle_len, 24);
AT(enroll_response, signature, 32);
AT(enroll_response, signature_len, 40);
AT(enroll_response, attestation_cert, 48);
AT(enroll_response, attestation_cert_len, 56);
AT(enroll_response, authdata, 64);
AT(enroll_response, authdata_len, 72);
SIZE(enroll_response, 80);
AT(resident_key, flags, 104);
SIZE(resident_key, 112);
#elif SK_MAJOR == 9 || SK_MAJOR == 10
AT(enroll_response, flags, 0);
AT(enroll_response, public_key, 8);
AT(enroll_response, public_key_len, 16);
AT(enroll_response, key_handle, 24);
AT(enroll_response, key_handle_len, 32);
AT(enroll_response, signature, 40);
AT(enroll_response, signature_len, 48);
AT(enroll_response, attestation_cert, 56);
AT(enroll_response, attestation_cert_len, 64);
AT(enroll_response, authdata, 72);
AT(enroll_response, authdata_len, 80);
SIZE(enroll_response, 88);
AT(resident_key, flags, 112);
AT(resident_key, user_id, 120);
AT(resident_key, user_id_len, 128);
SIZE(resident_key, 136);
#else
#error "SK_MAJOR is not a released major of the interface"
#endif
#endif

struct provider {
	void *library;
	uint32_t (*api_version)(void);
	int (*enroll)(uint32_t, const uint8_t *, size_t, const char *, uint8_t, const char *, struct option **,
	    struct enroll_response **);
	int (*sign)(uint32_t, const uint8_t *, size_t, const char *, const uint8_t *, size_t, uint8_t, const char *,
	    struct option **, struct sign_response **);
	int (*load)(const char *, struct option **, struct resident_key ***, size_t *);
};

struct enroll_call {
	uint32_t alg;
	const uint8_t *challenge;
	size_t challenge_len;
	const char *application;
	uint8_t flags;
	const char *pin;
	struct option **options;
	bool no_out;
};

struct sign_call {
	uint32_t alg;
	const uint8_t *data;
	size_t data_len;
	const char *application;
	const uint8_t *handle;
	size_t handle_len;
	uint8_t flags;
	const char *pin;
	struct option **options;
	bool no_out;
};

struct load_call {
	const char *pin;
	struct option **options;
	bool no_keys_out;
	bool no_count_out;
};

/* What a host keeps of an enrolment. */
struct key {
	uint32_t alg;
	uint8_t *handle;
	size_t handle_len;
};

static const uint8_t challenge[] = "thirty-two bytes of a challenge.";
#define CHALLENGE_LEN (sizeof(challenge) - 1)
#if SK_MAJOR == 4
/* OpenSSH 8.2 passed the SHA-256 of what later releases pass: here that of "a message to sign". */
static const uint8_t message[] = {
	0x75, 0xc5, 0x46, 0x4b, 0xfd, 0xef, 0xa6, 0x83,
	0x84, 0xf0, 0x78, 0xa1, 0x73, 0xb6, 0x1f, 0x7d,
	0x92, 0x85, 0x09, 0x0f, 0xf8, 0x8e, 0xa6, 0xf6,
	0x20, 0x06, 0xd7, 0xa6, 0x4c, 0x89, 0x74, 0x41,
};
#define MESSAGE_LEN sizeof(message)
#else
static const uint8_t message[] = "a message to sign";
#define MESSAGE_LEN (sizeof(message) - 1)
#endif
static const char application[] = "ssh:";

static FILE *results;
static int noise_fd;
static bool announces = true;

static void
die(const char *what)
{
	fprintf(stderr, "host: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void
begin(const char *label, const char *call)
{
	flockfile(results);
	fprintf(results, "{\"label\": \"%s\", \"call\": \"%s\"", label, call);
}

static void
number(const char *name, intmax_t value)
{
	fprintf(results, ", \"%s\": %" PRIdMAX, name, value);
}

static void
boolean(const char *name, bool value)
{
	fprintf(results, ", \"%s\": %s", name, value ? "true" : "false");
}

static void
hex(const char *name, const void *bytes, size_t len)
{
	fprintf(results, ", \"%s\": ", name);
	if (bytes == NULL) {
		fputs("null", results);
		return;
	}
	fputc('"', results);
	for (size_t i = 0; i < len; i++)
		fprintf(results, "%02x", ((const uint8_t *)bytes)[i]);
	fputc('"', results);
}

/* One write per line: children share the stream with their parent. */
static void
end(void)
{
	fputs("}\n", results);
	if (fflush(results) != 0)
		die("results");
	funlockfile(results);
}

static void
announce(const char *label)
{
	char line[128];
	int len = snprintf(line, sizeof(line), "> %s\n", label);

	if (!announces)
		return;
	if (write(STDERR_FILENO, line, (size_t)len) != len && errno != EBADF)
		die("stderr");
}

/* As hosts do with what may be secret; a length beyond the allocation would be found by a sanitizer here. */
static void
wipe_and_free(void *bytes, size_t len)
{
	if (bytes != NULL)
		explicit_bzero(bytes, len);
	free(bytes);
}

static void
report_enrolled(const struct enroll_response *key)
{
#if SK_MAJOR >= 9
	number("flags", key->flags);
#endif
	hex("public_key", key->public_key, key->public_key_len);
	hex("key_handle", key->key_handle, key->key_handle_len);
	hex("signature", key->signature, key->signature_len);
	hex("attestation_cert", key->attestation_cert, key->attestation_cert_len);
#if SK_MAJOR >= 7
	hex("authdata", key->authdata, key->authdata_len);
#endif
}

static void
free_enrolled(struct enroll_response *key)
{
	wipe_and_free(key->public_key, key->public_key_len);
	wipe_and_free(key->key_handle, key->key_handle_len);
	wipe_and_free(key->signature, key->signature_len);
	wipe_and_free(key->attestation_cert, key->attestation_cert_len);
#if SK_MAJOR >= 7
	wipe_and_free(key->authdata, key->authdata_len);
#endif
}

static void
report_out_pointer(int rc, const void *out)
{
	number("rc", rc);
	boolean("cleared", out == NULL);
	boolean("untouched", out == POISON);
}

static int
enroll(const struct provider *provider, const char *label, const struct enroll_call *call, struct key *key)
{
	struct enroll_response *response = POISON;
	int rc;

	announce(label);
	rc = provider->enroll(call->alg, call->challenge, call->challenge_len, call->application, call->flags,
	    call->pin, call->options, call->no_out ? NULL : &response);
	begin(label, "enroll");
	number("alg", call->alg);
	report_out_pointer(rc, response);
	if (rc == 0 && response != NULL && response != POISON) {
		report_enrolled(response);
		if (key != NULL) {
			key->alg = call->alg;
			key->handle_len = response->key_handle_len;
			if ((key->handle = malloc(key->handle_len)) == NULL)
				die("malloc");
			memcpy(key->handle, response->key_handle, key->handle_len);
		}
		free_enrolled(response);
		wipe_and_free(response, sizeof(*response));
	} else if (rc == 0)
		rc = INT32_MIN;
	end();
	return rc;
}

static int
sign(const struct provider *provider, const char *label, const struct sign_call *call)
{
	struct sign_response *response = POISON;
	int rc;

	announce(label);
	rc = provider->sign(call->alg, call->data, call->data_len, call->application, call->handle, call->handle_len,
	    call->flags, call->pin, call->options, call->no_out ? NULL : &response);
	begin(label, "sign");
	number("alg", call->alg);
	report_out_pointer(rc, response);
	if (rc == 0 && response != NULL && response != POISON) {
		number("flags", response->flags);
		number("counter", response->counter);
		/* The message is told by its length: the test knows what it was made of. */
		number("data_len", (intmax_t)call->data_len);
		hex("handle", call->handle, call->handle_len);
		hex("sig_r", response->sig_r, response->sig_r_len);
		hex("sig_s", response->sig_s, response->sig_s_len);
		wipe_and_free(response->sig_r, response->sig_r_len);
		wipe_and_free(response->sig_s, response->sig_s_len);
		wipe_and_free(response, sizeof(*response));
	} else if (rc == 0)
		rc = INT32_MIN;
	end();
	return rc;
}

static int
load(const struct provider *provider, const char *label, const struct load_call *call)
{
	struct resident_key **keys = POISON;
	size_t count = SIZE_MAX;
	int rc;

	announce(label);
	rc = provider->load(call->pin, call->options, call->no_keys_out ? NULL : &keys,
	    call->no_count_out ? NULL : &count);
	begin(label, "load");
	report_out_pointer(rc, keys);
	number("count", count == SIZE_MAX ? -1 : (intmax_t)count);
	if (rc == 0 && keys != POISON && count != SIZE_MAX) {
		fputs(", \"keys\": [", results);
		for (size_t i = 0; i < count; i++) {
			struct resident_key *key = keys[i];

			fprintf(results, "%s{\"slot\": %zu", i == 0 ? "" : ", ", key->slot);
			number("alg", key->alg);
			hex("application", key->application, strlen(key->application));
			report_enrolled(&key->key);
#if SK_MAJOR >= 7
			number("resident_flags", key->flags);
#endif
#if SK_MAJOR >= 9
			hex("user_id", key->user_id, key->user_id_len);
			wipe_and_free(key->user_id, key->user_id_len);
#endif
			fputc('}', results);
			wipe_and_free(key->application, strlen(key->application));
			free_enrolled(&key->key);
			wipe_and_free(key, sizeof(*key));
		}
		fputc(']', results);
		free(keys);
	}
	end();
	return rc;
}

static void
open_provider(struct provider *provider, const char *path)
{
	uint32_t version;

	if ((provider->library = dlopen(path, RTLD_NOW | RTLD_LOCAL)) == NULL) {
		fprintf(stderr, "host: dlopen: %s\n", dlerror());
		exit(3);
	}
	*(void **)&provider->api_version = dlsym(provider->library, "sk_api_version");
	*(void **)&provider->enroll = dlsym(provider->library, "sk_enroll");
	*(void **)&provider->sign = dlsym(provider->library, "sk_sign");
	*(void **)&provider->load = dlsym(provider->library, "sk_load_resident_keys");
	if (provider->api_version == NULL || provider->enroll == NULL || provider->sign == NULL ||
	    provider->load == NULL) {
		fprintf(stderr, "host: dlsym: %s\n", dlerror());
		exit(3);
	}
	version = provider->api_version();
	if (version >> 16 != SK_MAJOR) {
		fprintf(stderr, "host: version 0x%08" PRIx32 " is not for this host\n", version);
		exit(4);
	}
}

static struct enroll_call
usual_enroll(uint32_t alg)
{
	return (struct enroll_call){ .alg = alg, .challenge = challenge, .challenge_len = CHALLENGE_LEN,
		.application = application, .flags = FLAG_UP };
}

static struct sign_call
usual_sign(const struct key *key)
{
	return (struct sign_call){ .alg = key->alg, .data = message, .data_len = MESSAGE_LEN,
		.application = application, .handle = key->handle, .handle_len = key->handle_len, .flags = FLAG_UP };
}

static void
enroll_usually(const struct provider *provider, const char *label, uint32_t alg, struct key *key)
{
	struct enroll_call call = usual_enroll(alg);

	if (enroll(provider, label, &call, key) != 0) {
		fprintf(stderr, "host: the enrolment that the scenario needs has failed\n");
		exit(5);
	}
}

static int
sign_usually(const struct provider *provider, const char *label, const struct key *key)
{
	struct sign_call call = usual_sign(key);

	return sign(provider, label, &call);
}

static intmax_t
status_kib(const char *field)
{
	char line[256];
	intmax_t value = -1;
	FILE *status = fopen("/proc/self/status", "re");

	if (status == NULL)
		die("/proc/self/status");
	while (fgets(line, sizeof(line), status) != NULL) {
		if (strncmp(line, field, strlen(field)) == 0)
			value = strtoimax(line + strlen(field), NULL, 10);
	}
	fclose(status);
	return value;
}

static void
report_memory(const char *label)
{
	intmax_t kib = status_kib("VmRSS:");

	begin(label, "memory");
	number("kib", kib);
	end();
}

/* Every function, COUNT times over, with PIN for what needs one; the first quarter is warming up. */
static void
scenario_sequence(char **args)
{
	struct provider provider;
	struct enroll_call resident = usual_enroll(ALG_ED25519);
	struct load_call load_call = { .pin = args[2] };
	int count = atoi(args[1]);

	open_provider(&provider, args[0]);
	resident.flags |= FLAG_RK;
	resident.pin = args[2];
	if (enroll(&provider, "resident", &resident, NULL) != 0)
		exit(5);
	for (int i = 0; i < count; i++) {
		struct key key;

		if (i == count / 4)
			report_memory("warm");
		enroll_usually(&provider, "enroll", (uint32_t)i % 2, &key);
		for (int j = 0; j < 4; j++)
			sign_usually(&provider, "sign", &key);
		free(key.handle);
		if (i % 8 == 0)
			load(&provider, "load", &load_call);
	}
	report_memory("end");
}

/* A key with all that a host can ask for, enrolled with PIN for USER, the third argument, and listed. */
static void
scenario_members(char **args)
{
	struct provider provider;
	struct option user = { "user", args[2], 1 }, *options[] = { &user, NULL };
	struct enroll_call call = usual_enroll(ALG_ED25519);
	struct load_call load_call = { .pin = args[1] };

	open_provider(&provider, args[0]);
	call.flags |= FLAG_UV | FLAG_RK;
	call.pin = args[1];
	call.options = options;
	if (enroll(&provider, "enroll", &call, NULL) != 0)
		exit(5);
	load(&provider, "load", &load_call);
}

/* A signature, without a PIN, by a key that was enrolled with PIN and wants one. */
static void
scenario_unasked(char **args)
{
	struct provider provider;
	struct enroll_call call = usual_enroll(ALG_ED25519);
	struct sign_call sign_call;
	struct key key;

	open_provider(&provider, args[0]);
	call.flags |= FLAG_UV;
	call.pin = args[1];
	if (enroll(&provider, "enroll", &call, &key) != 0)
		exit(5);
	sign_call = usual_sign(&key);
	sign_call.flags |= FLAG_UV;
	sign(&provider, "unasked", &sign_call);
	free(key.handle);
}

/* Signatures of messages that are a byte shorter and longer than the usual one, which is the last. */
static void
scenario_lengths(char **args)
{
	struct provider provider;
	uint8_t longer[MESSAGE_LEN + 1] = { 0 };
	struct sign_call call;
	struct key key;

	open_provider(&provider, args[0]);
	enroll_usually(&provider, "enroll", ALG_ED25519, &key);
	call = usual_sign(&key);
	call.data_len = MESSAGE_LEN - 1;
	sign(&provider, "shorter", &call);
	call.data = longer;
	call.data_len = sizeof(longer);
	sign(&provider, "longer", &call);
	sign_usually(&provider, "usual", &key);
	free(key.handle);
}

/* One call of the function that ARGUMENT names, which may fail, and nothing else. */
static void
scenario_once(char **args)
{
	struct provider provider;
	struct enroll_call enroll_call = usual_enroll(ALG_ED25519);
	struct load_call load_call = { 0 };
	struct key key = { .alg = ALG_ED25519, .handle = (uint8_t *)"not a key handle", .handle_len = 16 };

	open_provider(&provider, args[0]);
	if (strcmp(args[1], "enroll") == 0)
		enroll(&provider, "once", &enroll_call, NULL);
	else if (strcmp(args[1], "sign") == 0)
		sign_usually(&provider, "once", &key);
	else if (strcmp(args[1], "load") == 0)
		load(&provider, "once", &load_call);
	else
		exit(2);
}

/* Each function again and again, where none can succeed. */
static void
scenario_failing(char **args)
{
	struct provider provider;
	struct enroll_call enroll_call = usual_enroll(ALG_ED25519);
	struct load_call load_call = { 0 };
	struct key key = { .alg = ALG_ED25519, .handle = (uint8_t *)"not a key handle", .handle_len = 16 };

	open_provider(&provider, args[0]);
	for (int i = 0; i < 3; i++) {
		enroll(&provider, "failing", &enroll_call, NULL);
		sign_usually(&provider, "failing", &key);
		load(&provider, "failing", &load_call);
	}
}

/* An enrolment and a signature with each algorithm. */
static void
scenario_keys(char **args)
{
	struct provider provider;
	struct key key;

	open_provider(&provider, args[0]);
	for (uint32_t alg = ALG_ECDSA; alg <= ALG_ED25519; alg++) {
		enroll_usually(&provider, "enroll", alg, &key);
		sign_usually(&provider, "sign", &key);
		free(key.handle);
	}
}

/* The same after the working directory, the second argument, which need not exist any more, has become the third. */
static void
scenario_moved(char **args)
{
	struct provider provider;
	int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (before == -1 || chdir(args[1]) == -1)
		die("chdir");
	/* If it is empty. */
	rmdir(args[1]);
	open_provider(&provider, args[0]);
	if (chdir(args[2]) == -1)
		die("chdir");
	scenario_keys(args);
	if (fchdir(before) == -1 || close(before) == -1)
		die("chdir");
}

/* Each function before, while and after the root directory is the second argument. */
static void
scenario_chroot(char **args)
{
	struct provider provider;
	struct enroll_call usual = usual_enroll(ALG_ED25519);
	struct load_call load_call = { 0 };
	struct key key;
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root == -1 || folder == -1)
		die("open");
	open_provider(&provider, args[0]);
	enroll_usually(&provider, "before", ALG_ED25519, &key);
	if (chroot(args[1]) == -1)
		die("chroot");
	enroll(&provider, "enroll", &usual, NULL);
	sign_usually(&provider, "sign", &key);
	load(&provider, "load", &load_call);
	if (fchdir(root) == -1 || chroot(".") == -1 || fchdir(folder) == -1 || close(root) == -1 || close(folder) == -1)
		die("chroot");
	sign_usually(&provider, "after", &key);
	free(key.handle);
}

/* The same in a program that has loaded a libpython (the second argument) for itself alone, and runs it. */
static void
scenario_joined(char **args)
{
	void *libpython, (*initialize)(int), *(*save_thread)(void);
	int *no_site;

	if ((libpython = dlopen(args[1], RTLD_NOW | RTLD_LOCAL)) == NULL)
		die(dlerror());
	*(void **)&initialize = dlsym(libpython, "Py_InitializeEx");
	*(void **)&save_thread = dlsym(libpython, "PyEval_SaveThread");
	no_site = dlsym(libpython, "Py_NoSiteFlag");
	if (initialize == NULL || save_thread == NULL || no_site == NULL)
		die("not a libpython");
	/* Packages of that Python's own would stand before ours. */
	*no_site = 1;
	initialize(0);
	save_thread();
	scenario_keys(args);
}

static struct provider raced;
static pthread_barrier_t start_line;

static void *
race(void *number_of_thread)
{
	uintptr_t n = (uintptr_t)number_of_thread;
	struct load_call load_call = { 0 };
	struct key key;

	pthread_barrier_wait(&start_line);
	if (n % 4 == 3)
		load(&raced, "race-load", &load_call);
	enroll_usually(&raced, "enroll", n % 2, &key);
	for (int i = 0; i < 10; i++)
		sign_usually(&raced, "sign", &key);
	free(key.handle);
	return NULL;
}

static void
start_threads(void *(*function)(void *))
{
	pthread_t threads[THREADS];

	if (pthread_barrier_init(&start_line, NULL, THREADS) != 0)
		die("pthread_barrier_init");
	for (uintptr_t i = 0; i < THREADS; i++) {
		if (pthread_create(&threads[i], NULL, function, (void *)i) != 0)
			die("pthread_create");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void
scenario_threads(char **args)
{
	open_provider(&raced, args[0]);
	start_threads(race);
}

/* Children before the first call and after it, and a child's child; all sign at the same time as their parent. */
static void
scenario_fork(char **args)
{
	struct provider provider;
	struct key key;
	pid_t children[CHILDREN], first;
	int status;

	open_provider(&provider, args[0]);
	if ((first = fork()) == 0) {
		enroll_usually(&provider, "before", ALG_ED25519, &key);
		sign_usually(&provider, "before", &key);
		_exit(0);
	}
	if (first == -1 || waitpid(first, &status, 0) == -1 || status != 0)
		die("the child before the first call");
	enroll_usually(&provider, "enroll", ALG_ED25519, &key);
	sign_usually(&provider, "parent", &key);
	for (int i = 0; i < CHILDREN; i++) {
		if ((children[i] = fork()) == -1)
			die("fork");
		if (children[i] != 0)
			continue;
		for (int j = 0; j < 5; j++)
			sign_usually(&provider, "child", &key);
		if (i == 0 && (first = fork()) == 0) {
			sign_usually(&provider, "grandchild", &key);
			_exit(0);
		}
		_exit(i == 0 && (waitpid(first, &status, 0) == -1 || status != 0));
	}
	for (int j = 0; j < 5; j++)
		sign_usually(&provider, "parent", &key);
	for (int i = 0; i < CHILDREN; i++) {
		if (waitpid(children[i], &status, 0) == -1)
			die("waitpid");
		begin("exit", "wait");
		number("status", status);
		end();
	}
	free(key.handle);
}

static atomic_bool has_begun, has_ended;

static void *
call_all_the_time(void *number_of_thread)
{
	struct enroll_call call = usual_enroll(ALG_ED25519);

	(void)number_of_thread;
	while (!has_ended) {
		struct enroll_response *response = NULL;

		raced.enroll(call.alg, call.challenge, call.challenge_len, call.application, call.flags, NULL, NULL,
		    &response);
		has_begun = true;
		if (response != NULL)
			free_enrolled(response);
		free(response);
	}
	return NULL;
}

/* GCC's AddressSanitizer does not release its allocator's locks in a child (before GCC 13), which may wait for one. */
#ifdef __SANITIZE_ADDRESS__
#define TRIES_OF_A_CHILD 5
#else
#define TRIES_OF_A_CHILD 1
#endif
#define CHILD_SECONDS 10

/* Makes a child that calls each function, as its own child does; returns its status: how often it was refused. */
static int
refused_child(void)
{
	struct resident_key **keys = NULL;
	struct sign_response *signature = NULL;
	struct enroll_response *response = NULL;
	size_t count = 0;
	pid_t child, grandchild;
	int status, refused = 0;

	if ((child = fork()) == -1)
		die("fork");
	if (child == 0) {
		alarm(2 * CHILD_SECONDS);
		if ((grandchild = fork()) == 0)
			alarm(CHILD_SECONDS);
		refused += raced.sign(ALG_ED25519, message, MESSAGE_LEN, application, message, MESSAGE_LEN, FLAG_UP,
		    NULL, NULL, &signature) == -1;
		refused += raced.load(NULL, NULL, &keys, &count) == -1;
		refused += raced.enroll(ALG_ED25519, challenge, CHALLENGE_LEN, application, FLAG_UP, NULL, NULL,
		    &response) == -1;
		if (grandchild > 0 && waitpid(grandchild, &status, 0) == -1)
			_exit(100);
		if (grandchild > 0 && WIFSIGNALED(status))
			raise(WTERMSIG(status));
		_exit(grandchild > 0 && status != refused << 8 ? 100 : refused);
	}
	if (waitpid(child, &status, 0) == -1)
		die("waitpid");
	return status;
}

/* Reports whether a child and its own were refused each time. */
static void
report_child(const char *label)
{
	int status, tries = TRIES_OF_A_CHILD;

	do
		status = refused_child();
	while (--tries > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
	begin(label, "wait");
	boolean("ended", WIFEXITED(status));
	number("refused", WEXITSTATUS(status));
	end();
}

/* Children of a process some of whose threads are in the middle of calls, and afterwards one when there is none. */
static void
scenario_busy(char **args)
{
	pthread_t threads[THREADS];

	open_provider(&raced, args[0]);
	for (int i = 0; i < THREADS; i++) {
		if (pthread_create(&threads[i], NULL, call_all_the_time, NULL) != 0)
			die("pthread_create");
	}
	report_child("start");
	while (!has_begun)
		sched_yield();
	for (int i = 0; i < 30; i++)
		report_child("busy");
	has_ended = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	report_child("idle");
}

/* Closed and opened again, as a host does that uses a library only for as long as a call takes. */
static void
scenario_reopen(char **args)
{
	struct provider provider;
	struct key key;

	open_provider(&provider, args[0]);
	enroll_usually(&provider, "enroll", ALG_ED25519, &key);
	for (int i = 0; i < 5; i++) {
		sign_usually(&provider, "sign", &key);
		if (dlclose(provider.library) != 0)
			die("dlclose");
		open_provider(&provider, args[0]);
	}
	sign_usually(&provider, "sign", &key);
	free(key.handle);
	/* Closed once more, so that whatever the library does at the process's end it does without a host. */
	dlclose(provider.library);
}

/* Two libraries in one process, each called before and after the other. */
static void
scenario_pair(char **args)
{
	struct provider first, second;
	struct enroll_call call = usual_enroll(ALG_ED25519);
	struct key key;

	open_provider(&first, args[0]);
	enroll_usually(&first, "first", ALG_ED25519, &key);
	open_provider(&second, args[1]);
	enroll(&second, "second", &call, NULL);
	sign_usually(&second, "second", &key);
	sign_usually(&first, "first", &key);
	sign_usually(&second, "second", &key);
	dlclose(second.library);
	sign_usually(&first, "first", &key);
	free(key.handle);
}

static void
hostile_enrolments(const struct provider *provider)
{
	static char unending[LONG_HANDLE];
	uint8_t *long_challenge = calloc(1, LONG_MESSAGE);
	struct {
		const char *label;
		struct enroll_call call;
	} cases[20];
	size_t n = 0;

	if (long_challenge == NULL)
		die("calloc");
	memset(unending, 'a', sizeof(unending) - 1);
	memcpy(unending, application, 4);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cases[i].call = usual_enroll(ALG_ED25519);
#define CASE(name, change) (cases[n].label = "enroll-" name, cases[n].call.change, n++)
	CASE("challenge-null", challenge = NULL);
	cases[n].call.challenge = NULL;
	CASE("challenge-null-empty", challenge_len = 0);
	CASE("challenge-empty", challenge_len = 0);
	cases[n].call.challenge = long_challenge;
	CASE("challenge-long", challenge_len = LONG_MESSAGE);
	CASE("application-null", application = NULL);
	CASE("application-empty", application = "");
	CASE("application-not-text", application = "ssh:\xff\xfe");
	CASE("application-long", application = unending);
	CASE("flags-none", flags = 0);
	CASE("flags-unknown", flags = 0x80);
	CASE("pin-empty", pin = "");
	CASE("pin-not-text", pin = "\xff\xfe\xfd\xfc");
	CASE("algorithm-2", alg = 2);
	CASE("algorithm-max", alg = UINT32_MAX);
	CASE("out-null", no_out = true);
#undef CASE
	for (size_t i = 0; i < n; i++)
		enroll(provider, cases[i].label, &cases[i].call, NULL);
	free(long_challenge);
}

static void
hostile_signatures(const struct provider *provider, const struct key *key)
{
	static char unending[LONG_HANDLE];
	uint8_t *long_message = malloc(LONG_MESSAGE), *long_handle = calloc(1, LONG_HANDLE);
	uint8_t *changed = malloc(key->handle_len);
	struct {
		const char *label;
		struct sign_call call;
	} cases[30];
	size_t n = 0;

	if (long_message == NULL || long_handle == NULL || changed == NULL)
		die("malloc");
	memset(unending, 'a', sizeof(unending) - 1);
	memset(long_message, 'm', LONG_MESSAGE);
	memcpy(long_handle, key->handle, key->handle_len);
	memcpy(changed, key->handle, key->handle_len);
	changed[key->handle_len - 1] ^= 1;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cases[i].call = usual_sign(key);
#define CASE(name, change) (cases[n].label = "sign-" name, cases[n].call.change, n++)
	CASE("data-null", data = NULL);
	cases[n].call.data = NULL;
	CASE("data-null-empty", data_len = 0);
	CASE("data-empty", data_len = 0);
	cases[n].call.data = long_message;
	CASE("data-1-mib", data_len = LONG_MESSAGE);
	CASE("application-null", application = NULL);
	CASE("application-empty", application = "");
	CASE("application-other", application = "ssh:other");
	CASE("application-not-text", application = "ssh:\xff\xfe");
	CASE("application-long", application = unending);
	CASE("handle-null", handle = NULL);
	cases[n].call.handle = NULL;
	CASE("handle-null-empty", handle_len = 0);
	CASE("handle-empty", handle_len = 0);
	CASE("handle-1-byte", handle_len = 1);
	CASE("handle-truncated", handle_len = key->handle_len - 1);
	CASE("handle-changed", handle = changed);
	cases[n].call.handle = long_handle;
	CASE("handle-64-kib", handle_len = LONG_HANDLE);
	cases[n].call.handle = (uint8_t *)unending;
	CASE("handle-64-kib-foreign", handle_len = LONG_HANDLE);
	CASE("flags-none", flags = 0);
	CASE("flags-resident", flags = FLAG_UP | FLAG_RK);
	CASE("flags-unknown", flags = FLAG_UP | 0x80);
	CASE("pin-empty", pin = "");
	CASE("pin-not-text", pin = "\xff\xfe\xfd\xfc");
	CASE("algorithm-other", alg = ALG_ECDSA);
	CASE("algorithm-2", alg = 2);
	CASE("algorithm-max", alg = UINT32_MAX);
	CASE("out-null", no_out = true);
#undef CASE
	for (size_t i = 0; i < n; i++)
		sign(provider, cases[i].label, &cases[i].call);
	free(changed);
	free(long_handle);
	free(long_message);
}

/* Each parameter in turn NULL, of no length, too long or unknown, between two usual calls. */
static void
scenario_arguments(char **args)
{
	struct provider provider;
	struct load_call calls[5] = { { .pin = NULL }, { .pin = "" }, { .no_keys_out = true }, { .no_count_out = true },
		{ .no_keys_out = true, .no_count_out = true } };
	static const char *const labels[] = { "load-pin-null", "load-pin-empty", "load-keys-null", "load-count-null",
		"load-both-null" };
	struct key key;

	open_provider(&provider, args[0]);
	enroll_usually(&provider, "enroll", ALG_ED25519, &key);
	hostile_enrolments(&provider);
	hostile_signatures(&provider, &key);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		load(&provider, labels[i], &calls[i]);
	sign_usually(&provider, "afterwards", &key);
	free(key.handle);
}

/* Options that nobody knows, that are half there, and that are known; ARGUMENT is a device that exists. */
static void
scenario_options(char **args)
{
	struct provider provider;
	struct option unknown = { "colour", "green", 0 }, required = { "colour", "green", 1 };
	struct option no_name = { NULL, "green", 0 }, no_value = { "device", NULL, 0 };
	struct option no_value_unknown = { "colour", NULL, 0 }, not_text = { "col\xffur", "\xfe", 0 };
	struct option device = { "device", args[1], 1 }, user = { "user", "somebody", 1 };
	struct option nowhere = { "device", "nowhere:", 1 }, empty = { "device", "", 0 };
	struct {
		const char *label;
		struct option *options[4];
	} cases[] = {
		{ "none", { NULL } },
		{ "unknown", { &unknown } },
		{ "unknown-required", { &required } },
		{ "unknown-required-last", { &device, &unknown, &required } },
		{ "name-null", { &no_name } },
		{ "value-null", { &no_value } },
		{ "unknown-value-null", { &no_value_unknown } },
		{ "not-text", { &not_text } },
		{ "device", { &device } },
		{ "device-and-user", { &device, &user } },
		{ "device-unknown-scheme", { &nowhere } },
		{ "device-empty", { &empty } },
	};
	struct key key;
	char label[64];

	open_provider(&provider, args[0]);
	enroll_usually(&provider, "enroll", ALG_ED25519, &key);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct enroll_call enroll_call = usual_enroll(ALG_ED25519);
		struct sign_call sign_call = usual_sign(&key);
		struct load_call load_call = { .pin = args[2], .options = cases[i].options };

		enroll_call.options = sign_call.options = cases[i].options;
		snprintf(label, sizeof(label), "enroll-%s", cases[i].label);
		enroll(&provider, label, &enroll_call, NULL);
		snprintf(label, sizeof(label), "sign-%s", cases[i].label);
		sign(&provider, label, &sign_call);
		snprintf(label, sizeof(label), "load-%s", cases[i].label);
		load(&provider, label, &load_call);
	}
	free(key.handle);
}

/* Half of the threads have something to say of each call, while the others have the store's files opened. */
static void *
race_with_words(void *number_of_thread)
{
	uintptr_t n = (uintptr_t)number_of_thread;
	struct enroll_call wrong = usual_enroll(2), nowhere = usual_enroll(ALG_ED25519);
	struct key key;

	nowhere.no_out = true;
	pthread_barrier_wait(&start_line);
	if (n % 2 == 0)
		enroll_usually(&raced, "enroll", ALG_ED25519, &key);
	for (int i = 0; i < 10; i++) {
		if (n % 2 == 0)
			sign_usually(&raced, "sign", &key);
		else {
			enroll(&raced, "from-python", &wrong, NULL);
			enroll(&raced, "from-c", &nowhere, NULL);
		}
	}
	if (n % 2 == 0)
		free(key.handle);
	return NULL;
}

/* A daemon has few or no standard streams: ARGUMENT has the digits of those that are closed. */
static void
scenario_streams(char **args)
{
	struct stat null, now;

	open_provider(&raced, args[0]);
	announces = false;
	for (const char *digit = args[1]; *digit != '\0'; digit++)
		close(*digit - '0');
	start_threads(race_with_words);
	if (stat("/dev/null", &null) == -1)
		die("/dev/null");
	for (const char *digit = args[1]; *digit != '\0'; digit++) {
		begin(digit, "stream");
		boolean("null", fstat(*digit - '0', &now) == 0 && now.st_rdev == null.st_rdev);
		boolean("inherited", fcntl(*digit - '0', F_GETFD) == 0);
		end();
	}
	for (const char *digit = args[1]; *digit != '\0'; digit++) {
		if (dup2(noise_fd, *digit - '0') == -1)
			die("dup2");
	}
}

/* After the first call, the host closes its standard streams and opens a file, which gets the number of stderr. */
static void
scenario_replaced(char **args)
{
	struct provider provider;
	struct enroll_call wrong = usual_enroll(2), nowhere = usual_enroll(ALG_ED25519);
	struct stat file, null, now;
	int kept[3];

	open_provider(&provider, args[0]);
	announces = false;
	nowhere.no_out = true;
	enroll(&provider, "before", &wrong, NULL);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if ((kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 100)) == -1 || close(fd) == -1)
			die("streams");
	}
	if (dup2(noise_fd, STDERR_FILENO) == -1 || fstat(STDERR_FILENO, &file) == -1 || file.st_size != 0)
		die("file");
	enroll(&provider, "from-python", &wrong, NULL);
	enroll(&provider, "from-c", &nowhere, NULL);
	if (fstat(STDERR_FILENO, &file) == -1 || stat("/dev/null", &null) == -1)
		die("file");
	begin("file", "file");
	number("size", file.st_size);
	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
		boolean(fd == STDIN_FILENO ? "null0" : "null1", fstat(fd, &now) == 0 && now.st_rdev == null.st_rdev);
	end();
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (dup2(kept[fd], fd) == -1 || close(kept[fd]) == -1)
			die("dup2");
	}
}

/* Nobody reads the pipe that stderr is, and SIGPIPE has its usual effect. */
static void
scenario_unread(char **args)
{
	struct provider provider;
	struct enroll_call wrong = usual_enroll(2);
	struct key key = { .alg = ALG_ED25519, .handle = (uint8_t *)"not a key handle", .handle_len = 16 };
	struct sign_call nowhere = usual_sign(&key);
	int ends[2], kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	open_provider(&provider, args[0]);
	if (kept == -1 || pipe2(ends, O_CLOEXEC) == -1 || dup2(ends[1], STDERR_FILENO) == -1)
		die("pipe");
	close(ends[0]);
	close(ends[1]);
	announces = false;
	enroll(&provider, "from-python", &wrong, NULL);
	nowhere.no_out = true;
	sign(&provider, "from-c", &nowhere);
	if (dup2(kept, STDERR_FILENO) == -1)
		die("dup2");
	close(kept);
	announces = true;
}

/* The pipe that stderr is has no more room: its reader is there, but does not read. */
static void
scenario_full(char **args)
{
	static char page[PIPE_BUF];
	struct provider provider;
	struct enroll_call wrong = usual_enroll(2), nowhere = usual_enroll(ALG_ED25519);
	int ends[2], kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	open_provider(&provider, args[0]);
	if (kept == -1 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) == -1)
		die("pipe");
	while (write(ends[1], page, sizeof(page)) > 0)
		continue;
	if (fcntl(ends[1], F_SETFL, 0) == -1 || dup2(ends[1], STDERR_FILENO) == -1 || close(ends[1]) == -1)
		die("pipe");
	announces = false;
	nowhere.no_out = true;
	enroll(&provider, "from-python", &wrong, NULL);
	enroll(&provider, "from-c", &nowhere, NULL);
	if (dup2(kept, STDERR_FILENO) == -1)
		die("dup2");
	close(kept);
	close(ends[0]);
}

/* Returns the limit that there was before. */
static rlim_t
limit(int resource, rlim_t amount)
{
	struct rlimit now;
	rlim_t before;

	if (getrlimit(resource, &now) == -1)
		die("getrlimit");
	before = now.rlim_cur;
	now.rlim_cur = amount;
	if (setrlimit(resource, &now) == -1)
		die("setrlimit");
	return before;
}

/* Each function before, while and after no file may grow. */
static void
scenario_no_files(char **args)
{
	struct provider provider;
	struct enroll_call usual = usual_enroll(ALG_ED25519), wrong = usual_enroll(2);
	struct key key;
	rlim_t usual_limit;

	open_provider(&provider, args[0]);
	announces = false;
	enroll_usually(&provider, "before", ALG_ED25519, &key);
	usual_limit = limit(RLIMIT_FSIZE, 0);
	enroll(&provider, "wrong", &wrong, NULL);
	enroll(&provider, "enroll", &usual, NULL);
	sign_usually(&provider, "sign", &key);
	limit(RLIMIT_FSIZE, usual_limit);
	sign_usually(&provider, "after", &key);
	free(key.handle);
}

/* The first call of many processes, each with a little more memory than the last, up to ARGUMENT MiB. */
static void
scenario_little_memory(char **args)
{
	struct provider provider;
	struct enroll_call usual = usual_enroll(ALG_ED25519);
	struct enroll_response *response = NULL;
	rlim_t size, usual_limit, mebibytes = (rlim_t)atoi(args[1]);
	pid_t child;
	int status;

	open_provider(&provider, args[0]);
	announces = false;
	size = (rlim_t)status_kib("VmSize:") << 10;
	for (rlim_t more = 0; more < mebibytes << 20; more += MEMORY_STEP) {
		if ((child = fork()) == -1)
			die("fork");
		if (child == 0) {
			limit(RLIMIT_AS, size + more);
			_exit(-provider.enroll(usual.alg, usual.challenge, usual.challenge_len, usual.application,
			    usual.flags, NULL, NULL, &response));
		}
		if (waitpid(child, &status, 0) == -1)
			die("waitpid");
		begin("child", "wait");
		boolean("ended", WIFEXITED(status));
		number("rc", -WEXITSTATUS(status));
		end();
	}
	usual_limit = limit(RLIMIT_AS, size);
	enroll(&provider, "refused", &usual, NULL);
	limit(RLIMIT_AS, usual_limit);
	enroll(&provider, "again", &usual, NULL);
}

/* Calls before, while and after there is no memory for a thread; ARGUMENT is a device that is used without one. */
static void
scenario_no_threads(char **args)
{
	struct provider provider;
	struct option device = { "device", args[1], 1 }, *options[] = { &device, NULL };
	struct enroll_call single = usual_enroll(ALG_ED25519), usual = usual_enroll(ALG_ED25519);
	struct key key;
	rlim_t usual_limit;

	single.options = options;
	open_provider(&provider, args[0]);
	if (enroll(&provider, "before", &single, &key) != 0)
		exit(5);
	usual_limit = limit(RLIMIT_AS, ((rlim_t)status_kib("VmSize:") << 10) + THREAD_STACK / 2);
	enroll(&provider, "limited", &usual, NULL);
	limit(RLIMIT_AS, usual_limit);
	sign_usually(&provider, "after", &key);
	free(key.handle);
}

/* Lets the process open no file; COUNT: how many it may have, or "used". Returns the limit that there was before. */
static rlim_t
limit_descriptors(const char *count)
{
	int first_free;

	if ((first_free = dup(STDOUT_FILENO)) == -1 || close(first_free) == -1)
		die("dup");
	return limit(RLIMIT_NOFILE, strcmp(count, "used") == 0 ? first_free : atoi(count));
}

/* Each function before, while and after the process may open no file; ARGUMENT is limit_descriptors()'s. */
static void
scenario_no_descriptors(char **args)
{
	struct provider provider;
	struct enroll_call usual = usual_enroll(ALG_ED25519);
	struct key key = { .alg = ALG_ED25519 };
	rlim_t usual_limit;

	open_provider(&provider, args[0]);
	enroll(&provider, "before", &usual, &key);
	usual_limit = limit_descriptors(args[1]);
	enroll(&provider, "enroll", &usual, NULL);
	sign_usually(&provider, "sign", &key);
	limit(RLIMIT_NOFILE, usual_limit);
	sign_usually(&provider, "after", &key);
	free(key.handle);
}

/* The first call, while the process may open no file, and another after that; ARGUMENT is limit_descriptors()'s. */
static void
scenario_no_descriptors_at_first(char **args)
{
	struct provider provider;
	struct enroll_call usual = usual_enroll(ALG_ED25519);
	rlim_t usual_limit;

	open_provider(&provider, args[0]);
	usual_limit = limit_descriptors(args[1]);
	enroll(&provider, "first", &usual, NULL);
	limit(RLIMIT_NOFILE, usual_limit);
	enroll(&provider, "after", &usual, NULL);
}

/* How often TEXT, whose bytes are given with all bits inverted, is in the memory that this process can write. */
static int
occurrences(const uint8_t *inverted, size_t len)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");
	int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC), found = 0;
	uint8_t *copy = NULL;

	if (maps == NULL || memory == -1)
		die("/proc/self");
	while (fgets(line, sizeof(line), maps) != NULL) {
		uintptr_t from, to;
		char mode[5];
		ssize_t size;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to, mode) != 3 || mode[1] != 'w')
			continue;
		/* A mapping of its own, inverted at once, so that looking does not make more to find. */
		copy = mmap(NULL, to - from, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (copy == MAP_FAILED)
			die("mmap");
		size = pread(memory, copy, to - from, (off_t)from);
		for (ssize_t i = 0; i < size; i++)
			copy[i] = (uint8_t)~copy[i];
		if (size > 0) {
			const uint8_t *at = copy, *limit = copy + size;

			while ((at = memmem(at, (size_t)(limit - at), inverted, len)) != NULL) {
				found++;
				at++;
			}
		}
		munmap(copy, to - from);
	}
	fclose(maps);
	close(memory);
	return found;
}

/* Whether PIN, or the wrong one made of it, stays in memory once the calls have returned. */
static void
scenario_residue(char **args)
{
	struct provider provider;
	struct enroll_call call = usual_enroll(ALG_ED25519);
	struct load_call load_call = { 0 };
	size_t len = strlen(args[1]);
	uint8_t *inverted = malloc(len);
	char *pin = malloc(len + 1);
	struct key key;

	if (inverted == NULL || pin == NULL)
		die("malloc");
	for (size_t i = 0; i < len; i++)
		inverted[i] = (uint8_t)~args[1][i];
	explicit_bzero(args[1], len);
	open_provider(&provider, args[0]);
	for (int wrong = 0; wrong < 2; wrong++) {
		for (size_t i = 0; i < len; i++)
			pin[i] = (char)~inverted[i];
		pin[len] = '\0';
		call.pin = load_call.pin = pin;
		if (enroll(&provider, wrong ? "wrong-pin" : "enroll", &call, wrong ? NULL : &key) != 0 && !wrong)
			exit(5);
		load(&provider, wrong ? "wrong-pin" : "load", &load_call);
		if (!wrong) {
			struct sign_call sign_call = usual_sign(&key);

			sign_call.flags |= FLAG_UV;
			sign_call.pin = pin;
			sign(&provider, "sign", &sign_call);
			free(key.handle);
		}
		explicit_bzero(pin, len);
		begin(wrong ? "wrong-pin" : "right-pin", "residue");
		number("occurrences", occurrences(inverted, len));
		end();
		inverted[len - 1] ^= 1;
	}
	free(pin);
	free(inverted);
}

/* A key is made, and used a few times; then the process waits for the end of its input, with what is left in memory. */
static void
scenario_rest(char **args)
{
	struct provider provider;
	struct key key;

	open_provider(&provider, args[0]);
	enroll_usually(&provider, "enroll", ALG_ED25519, &key);
	for (int i = 0; i < 3; i++)
		sign_usually(&provider, "sign", &key);
	free(key.handle);
	begin("rest", "rest");
	end();
	fflush(stdout);
	while (getchar() != EOF)
		continue;
}

/* The library is opened, asked for its version, and closed. */
static void
scenario_version(char **args)
{
	struct provider provider;

	open_provider(&provider, args[0]);
	begin("version", "version");
	number("version", provider.api_version());
	boolean("python", dlsym(RTLD_DEFAULT, "Py_IsInitialized") != NULL);
	end();
	dlclose(provider.library);
}

/* What belongs to the host and not to a library that it calls. */
struct surroundings {
	struct {
		bool open;
		dev_t dev;
		ino_t ino;
		int flags;
	} fds[FD_MAX];
	struct sigaction actions[NSIG];
	sigset_t mask;
	mode_t umask;
	char cwd[4096];
	char locale[256];
	size_t environment;
	intmax_t threads;
};

static void
survey(struct surroundings *seen)
{
	struct stat st;
	mode_t mask = umask(077);

	memset(seen, 0, sizeof(*seen));
	umask(mask);
	seen->umask = mask;
	for (int fd = 0; fd < FD_MAX; fd++) {
		if (fstat(fd, &st) == -1)
			continue;
		seen->fds[fd].open = true;
		seen->fds[fd].dev = st.st_dev;
		seen->fds[fd].ino = st.st_ino;
		seen->fds[fd].flags = fcntl(fd, F_GETFL) << 1 | fcntl(fd, F_GETFD);
	}
	for (int sig = 1; sig < NSIG; sig++) {
		sigaction(sig, NULL, &seen->actions[sig]);
		seen->actions[sig].sa_flags &= ~ADDED_BY_LIBC;
	}
	pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
	if (getcwd(seen->cwd, sizeof(seen->cwd)) == NULL)
		die("getcwd");
	snprintf(seen->locale, sizeof(seen->locale), "%s", setlocale(LC_ALL, NULL));
	for (char **variable = environ; *variable != NULL; variable++) {
		for (const char *at = *variable; *at != '\0'; at++)
			seen->environment = seen->environment * 31 + (uint8_t)*at;
	}
	seen->threads = status_kib("Threads:");
}

static void
report_changes(const struct surroundings *before, const struct surroundings *after)
{
	int fds = 0, signals = 0;
	struct stat noise;

	for (int fd = 0; fd < FD_MAX; fd++)
		fds += memcmp(&before->fds[fd], &after->fds[fd], sizeof(before->fds[fd])) != 0;
	for (int sig = 1; sig < NSIG; sig++)
		signals += before->actions[sig].sa_handler != after->actions[sig].sa_handler ||
		    before->actions[sig].sa_flags != after->actions[sig].sa_flags;
	if (fstat(noise_fd, &noise) == -1)
		die("noise");
	begin("end", "end");
	number("fds_changed", fds);
	number("signals_changed", signals);
	boolean("mask_changed", memcmp(&before->mask, &after->mask, sizeof(before->mask)) != 0);
	boolean("umask_changed", before->umask != after->umask);
	boolean("cwd_changed", strcmp(before->cwd, after->cwd) != 0);
	boolean("locale_changed", strcmp(before->locale, after->locale) != 0);
	boolean("environment_changed", before->environment != after->environment);
	boolean("threads_changed", before->threads != after->threads);
	number("noise", noise.st_size);
	end();
}

/* Results go where stdout went; stdout itself becomes a file that must stay empty. */
static void
divert_stdout(void)
{
	static char buffer[RESULT_BUFFER];
	int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100);

	if (fd == -1 || (results = fdopen(fd, "w")) == NULL || setvbuf(results, buffer, _IOFBF, sizeof(buffer)) != 0)
		die("results");
	if ((fd = memfd_create("noise", MFD_CLOEXEC)) == -1 || (noise_fd = fcntl(fd, F_DUPFD_CLOEXEC, 100)) == -1 ||
	    dup2(fd, STDOUT_FILENO) == -1 || close(fd) == -1)
		die("stdout");
}

#ifdef EXPORTED_PYTHON_VERSION
/* As in a process that already is another Python: the dynamic linker finds the program's symbols first. */
const char *Py_GetVersion(void);
const char *
Py_GetVersion(void)
{
	return EXPORTED_PYTHON_VERSION;
}
#endif

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int arguments;
		void (*play)(char **);
	} scenarios[] = {
		{ "version", 1, scenario_version },
		{ "once", 2, scenario_once },
		{ "failing", 1, scenario_failing },
		{ "keys", 1, scenario_keys },
		{ "joined", 2, scenario_joined },
		{ "moved", 3, scenario_moved },
		{ "chroot", 2, scenario_chroot },
		{ "sequence", 3, scenario_sequence },
		{ "members", 3, scenario_members },
		{ "unasked", 2, scenario_unasked },
		{ "lengths", 1, scenario_lengths },
		{ "threads", 1, scenario_threads },
		{ "fork", 1, scenario_fork },
		{ "busy", 1, scenario_busy },
		{ "reopen", 1, scenario_reopen },
		{ "pair", 2, scenario_pair },
		{ "arguments", 1, scenario_arguments },
		{ "options", 3, scenario_options },
		{ "streams", 2, scenario_streams },
		{ "replaced", 1, scenario_replaced },
		{ "full", 1, scenario_full },
		{ "no-files", 1, scenario_no_files },
		{ "little-memory", 2, scenario_little_memory },
		{ "no-threads", 2, scenario_no_threads },
		{ "no-descriptors", 2, scenario_no_descriptors },
		{ "no-descriptors-at-first", 2, scenario_no_descriptors_at_first },
		{ "residue", 2, scenario_residue },
		{ "rest", 1, scenario_rest },
		{ "unread", 1, scenario_unread },
	};
	static struct surroundings before, after;

	alarm(DEADLINE_SECONDS);
	divert_stdout();
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		if (argc < 2 || strcmp(argv[1], scenarios[i].name) != 0)
			continue;
		if (argc - 2 < scenarios[i].arguments)
			break;
		survey(&before);
		scenarios[i].play(argv + 2);
		fflush(stdout);
		survey(&after);
		/* The scenario has taken the standard streams away itself. */
		if (strcmp(scenarios[i].name, "streams") == 0)
			memcpy(after.fds, before.fds, sizeof(before.fds[0]) * 3);
		report_changes(&before, &after);
		return 0;
	}
	fprintf(stderr, "usage: host SCENARIO LIBRARY [ARGUMENT...]\n");
	return 2;
}
