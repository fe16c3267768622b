/*
 * A program on libssh that uses security keys through libpysk.so.
 *
 *     example [-p] LIBRARY COMMAND, of which COMMAND is one of
 *
 *     enroll ed25519-sk|ecdsa-sk KEY [resident]     make a key pair: KEY and KEY.pub
 *     sign KEY                                      sign standard input, as ssh-keygen -Y sign -n file does
 *     verify KEY.pub SIGNATURE                      verify such a signature of standard input
 *     list                                          print the public keys of resident keys
 *     login KEY HOST PORT USER KNOWN_HOSTS          log in, and print the exit status of "true"
 *
 * With -p the PIN is asked for on the terminal. libssh asks before each operation once it knows how, and never tells
 * that one is wanted, so that a program must know by itself.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libssh/callbacks.h>
#include <libssh/libssh.h>

#include "pysk_libssh.h"

#define NAMESPACE "file"
#define MESSAGE_SIZE (1U << 20)
#define PATH_SIZE 4096

static ssh_pki_ctx context;

static int
ask_pin(const char *prompt, char *buffer, size_t length, int echo, int verify, void *userdata)
{
	(void)userdata;
	return ssh_getpass(prompt, buffer, length, echo, verify);
}

static size_t
read_all(FILE *file, char *buffer, size_t size)
{
	size_t length = fread(buffer, 1, size, file);

	if (ferror(file) || !feof(file))
		errx(1, "the input cannot be read, or is too long");
	return length;
}

static ssh_key
read_key(const char *path)
{
	ssh_key key = NULL;

	if (ssh_pki_import_privkey_file(path, NULL, NULL, NULL, &key) != SSH_OK)
		errx(1, "cannot read the key %s", path);
	return key;
}

static void
enroll(const char *type, const char *path, int resident)
{
	char public_path[PATH_SIZE];
	uint8_t flags = SSH_SK_USER_PRESENCE_REQD | (resident ? SSH_SK_RESIDENT_KEY : 0);
	ssh_key key = NULL;

	if (ssh_pki_ctx_options_set(context, SSH_PKI_OPTION_SK_APPLICATION, "ssh:") != SSH_OK ||
	    ssh_pki_ctx_options_set(context, SSH_PKI_OPTION_SK_FLAGS, &flags) != SSH_OK)
		errx(1, "libssh has no security keys");
	if (ssh_pki_generate_key(strcmp(type, "ecdsa-sk") == 0 ? SSH_KEYTYPE_SK_ECDSA : SSH_KEYTYPE_SK_ED25519,
	        context, &key) != SSH_OK)
		errx(1, "the authenticator made no key");
	snprintf(public_path, sizeof(public_path), "%s.pub", path);
	if (ssh_pki_export_privkey_file_format(key, NULL, NULL, NULL, path, SSH_FILE_FORMAT_OPENSSH) != SSH_OK ||
	    ssh_pki_export_pubkey_file(key, public_path) != SSH_OK)
		errx(1, "cannot write %s", path);
	ssh_key_free(key);
}

static void
sign(const char *path)
{
	static char message[MESSAGE_SIZE];
	size_t length = read_all(stdin, message, sizeof(message));
	ssh_key key = read_key(path);
	char *signature = NULL;

	if (sshsig_sign(message, length, key, context, NAMESPACE, SSHSIG_DIGEST_SHA2_512, &signature) != SSH_OK)
		errx(1, "the authenticator did not sign");
	fputs(signature, stdout);
	ssh_string_free_char(signature);
	ssh_key_free(key);
}

static void
verify(const char *public_path, const char *signature_path)
{
	static char message[MESSAGE_SIZE], signature[MESSAGE_SIZE];
	size_t length = read_all(stdin, message, sizeof(message));
	FILE *file = fopen(signature_path, "r");
	ssh_key expected = NULL, signer = NULL;

	if (file == NULL || ssh_pki_import_pubkey_file(public_path, &expected) != SSH_OK)
		errx(1, "cannot read %s or %s", public_path, signature_path);
	signature[read_all(file, signature, sizeof(signature) - 1)] = '\0';
	fclose(file);
	if (sshsig_verify(message, length, signature, NAMESPACE, &signer) != SSH_OK ||
	    ssh_key_cmp(expected, signer, SSH_KEY_CMP_PUBLIC) != 0)
		errx(1, "the signature is not good");
	ssh_key_free(expected);
	ssh_key_free(signer);
}

static void
list(void)
{
	ssh_key *keys = NULL;
	size_t count = 0;

	if (ssh_sk_resident_keys_load(context, &keys, &count) != SSH_OK)
		errx(1, "the authenticator lists no keys");
	for (size_t i = 0; i < count; i++) {
		char *encoded = NULL;

		if (ssh_pki_export_pubkey_base64(keys[i], &encoded) != SSH_OK)
			errx(1, "a key cannot be printed");
		printf("%s %s\n", ssh_key_type_to_char(ssh_key_type(keys[i])), encoded);
		ssh_string_free_char(encoded);
		ssh_key_free(keys[i]);
	}
	free(keys);
}

static void
login(const char *path, const char *host, const char *port, const char *user, const char *known_hosts)
{
	ssh_key key = read_key(path);
	ssh_session session = ssh_new();
	ssh_channel channel;
	uint32_t status = 0;

	if (session == NULL || ssh_options_set(session, SSH_OPTIONS_HOST, host) != 0 ||
	    ssh_options_set(session, SSH_OPTIONS_PORT_STR, port) != 0 ||
	    ssh_options_set(session, SSH_OPTIONS_USER, user) != 0 ||
	    ssh_options_set(session, SSH_OPTIONS_KNOWNHOSTS, known_hosts) != 0 ||
	    ssh_options_set(session, SSH_OPTIONS_PKI_CONTEXT, context) != 0)
		errx(1, "libssh refuses an option");
	if (ssh_connect(session) != SSH_OK)
		errx(1, "%s", ssh_get_error(session));
	if (ssh_session_is_known_server(session) != SSH_KNOWN_HOSTS_OK)
		errx(1, "the host is not known");
	if (ssh_userauth_publickey(session, NULL, key) != SSH_AUTH_SUCCESS)
		errx(1, "not let in: %s", ssh_get_error(session));
	channel = ssh_channel_new(session);
	if (channel == NULL || ssh_channel_open_session(channel) != SSH_OK ||
	    ssh_channel_request_exec(channel, "true") != SSH_OK || ssh_channel_send_eof(channel) != SSH_OK)
		errx(1, "%s", ssh_get_error(session));
	if (ssh_channel_get_exit_state(channel, &status, NULL, NULL) != SSH_OK)
		errx(1, "the command told no exit status");
	printf("logged in, exit status %u\n", (unsigned int)status);
	ssh_channel_free(channel);
	ssh_disconnect(session);
	ssh_free(session);
	ssh_key_free(key);
}

int
main(int count, char **words)
{
	struct ssh_sk_callbacks_struct callbacks;
	char error[PYSK_LIBSSH_ERROR_SIZE];
	const char *command;
	int with_pin = count > 1 && strcmp(words[1], "-p") == 0;

	count -= with_pin;
	words += with_pin;
	command = count > 2 ? words[2] : "";
	if (count > 1 && pysk_libssh_load(words[1], &callbacks, error) != 0)
		errx(1, "%s", error);
	if ((context = ssh_pki_ctx_new()) == NULL ||
	    (count > 1 && ssh_pki_ctx_options_set(context, SSH_PKI_OPTION_SK_CALLBACKS, &callbacks) != SSH_OK) ||
	    (with_pin && ssh_pki_ctx_set_sk_pin_callback(context, ask_pin, NULL) != SSH_OK))
		errx(1, "libssh has no security keys");
	if (strcmp(command, "enroll") == 0 && (count == 5 || count == 6))
		enroll(words[3], words[4], count == 6);
	else if (strcmp(command, "sign") == 0 && count == 4)
		sign(words[3]);
	else if (strcmp(command, "verify") == 0 && count == 5)
		verify(words[3], words[4]);
	else if (strcmp(command, "list") == 0 && count == 3)
		list();
	else if (strcmp(command, "login") == 0 && count == 8)
		login(words[3], words[4], words[5], words[6], words[7]);
	else
		errx(2, "usage: example [-p] LIBRARY enroll|sign|verify|list|login ...");
	ssh_pki_ctx_free(context);
	return 0;
}
