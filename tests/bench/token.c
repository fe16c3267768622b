/*
 * An authenticator that costs no time of its own: it looks each answer up, and gives it after a settable delay.
 *
 *     token ANSWERS DELAY_MS PATH|uhid
 *
 * It listens at PATH for CTAPHID reports on a Unix stream socket and serves one connection after the other, or is a USB
 * HID device, which the kernel makes of it. It prints a line once it is ready. ANSWERS is a file of records: the
 * command's byte, the length (16 bits, big-endian) of some bytes and these bytes, the length of a response and the
 * response, status included. A CTAPHID_CBOR message gets the
 * response of the first record whose command is its own and whose bytes are in it, else CTAP2_ERR_NO_CREDENTIALS.
 * The delay is waited before every answer, that to CTAPHID_INIT too.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/uhid.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "descriptor.h"

#define MAX_MESSAGE 7609
#define MAX_ANSWERS (1 << 16)

/* CTAP 2.1, sections 11.2.4 and 11.2.9. */
#define INIT_PACKET 0x80
#define INIT_DATA (REPORT - 7)
#define CONTINUATION_DATA (REPORT - 5)
#define CMD_INIT 0x06
#define CMD_CBOR 0x10
#define CMD_CANCEL 0x11
#define CMD_ERROR 0x3f
#define ERR_INVALID_CMD 0x01
#define CAPABILITIES 0x0c /* CBOR, and no CTAP1 */
#define CHANNEL 0x70797301u

#define STATUS_NO_CREDENTIALS 0x2e

#define UHID "uhid"

static bool is_device;
static uint8_t answers[MAX_ANSWERS];
static size_t answers_len;
static struct timespec delay;

static bool
receive_from_kernel(int fd, uint8_t report[REPORT])
{
	struct uhid_event event;

	do {
		if (read(fd, &event, sizeof(event)) <= 0)
			return false;
	} while (event.type != UHID_OUTPUT || event.u.output.size != REPORT + 1);
	/* Before the report stands its number, which is none. */
	memcpy(report, event.u.output.data + 1, REPORT);
	return true;
}

static bool
receive(int fd, uint8_t report[REPORT])
{
	size_t have = 0;

	if (is_device)
		return receive_from_kernel(fd, report);
	while (have < REPORT) {
		ssize_t count = recv(fd, report + have, REPORT - have, 0);
		if (count <= 0)
			return false;
		have += (size_t)count;
	}
	return true;
}

static bool
send_reports(int fd, const uint8_t *reports, size_t count)
{
	struct uhid_event event = {.type = UHID_INPUT2, .u.input2.size = REPORT};

	if (!is_device)
		return send(fd, reports, count * REPORT, MSG_NOSIGNAL) == (ssize_t)(count * REPORT);
	for (size_t i = 0; i < count; i++) {
		memcpy(event.u.input2.data, reports + i * REPORT, REPORT);
		if (write(fd, &event, sizeof(event)) == -1)
			return false;
	}
	return true;
}

static bool
answer(int fd, const uint8_t channel[4], uint8_t command, const uint8_t *data, size_t len)
{
	uint8_t message[MAX_MESSAGE / CONTINUATION_DATA * REPORT + 2 * REPORT] = {0};
	size_t at = 0, packet = 0;

	if (delay.tv_sec || delay.tv_nsec)
		nanosleep(&delay, NULL);
	do {
		uint8_t *report = message + packet * REPORT;
		size_t room = packet ? CONTINUATION_DATA : INIT_DATA;
		size_t count = len - at < room ? len - at : room;

		memcpy(report, channel, 4);
		if (packet == 0) {
			report[4] = command | INIT_PACKET;
			report[5] = (uint8_t)(len >> 8);
			report[6] = (uint8_t)len;
		} else
			report[4] = (uint8_t)(packet - 1);
		memcpy(report + REPORT - room, data + at, count);
		at += count;
		packet++;
	} while (at < len);
	return send_reports(fd, message, packet);
}

/* Take the bytes that their length precedes off the front of what is left of the answers. */
static const uint8_t *
take(size_t *at, size_t *len)
{
	const uint8_t *start = answers + *at + 2;

	*len = (size_t)answers[*at] << 8 | answers[*at + 1];
	*at += 2 + *len;
	if (*at > answers_len)
		errx(1, "the answers are cut short");
	return start;
}

static bool
answer_cbor(int fd, const uint8_t channel[4], const uint8_t *message, size_t len)
{
	static const uint8_t refusal[] = {STATUS_NO_CREDENTIALS};
	size_t at = 0;

	while (at + 5 <= answers_len) {
		uint8_t command = answers[at++];
		size_t part_len, response_len;
		const uint8_t *part = take(&at, &part_len), *response = take(&at, &response_len);

		if (len > 0 && command == message[0] && memmem(message + 1, len - 1, part, part_len))
			return answer(fd, channel, CMD_CBOR, response, response_len);
	}
	return answer(fd, channel, CMD_CBOR, refusal, sizeof(refusal));
}

static bool
answer_init(int fd, const uint8_t channel[4], const uint8_t *nonce)
{
	uint8_t response[17];
	const uint32_t id = CHANNEL;

	memcpy(response, nonce, 8);
	memcpy(response + 8, &id, 4);
	memcpy(response + 12, (const uint8_t[]){2, 1, 0, 0, CAPABILITIES}, 5);
	return answer(fd, channel, CMD_INIT, response, sizeof(response));
}

static void
serve(int fd)
{
	static const uint8_t invalid_command[] = {ERR_INVALID_CMD};
	uint8_t report[REPORT], message[MAX_MESSAGE];
	bool goes_on = true;

	while (goes_on && receive(fd, report)) {
		uint8_t channel[4], command = report[4] & ~INIT_PACKET;
		size_t len = (size_t)report[5] << 8 | report[6];
		size_t have = len < INIT_DATA ? len : INIT_DATA;

		if (!(report[4] & INIT_PACKET) || len > sizeof(message))
			return;
		memcpy(channel, report, sizeof(channel));
		memcpy(message, report + 7, have);
		while (have < len) {
			size_t count = len - have < CONTINUATION_DATA ? len - have : CONTINUATION_DATA;

			if (!receive(fd, report))
				return;
			memcpy(message + have, report + 5, count);
			have += count;
		}
		if (command == CMD_INIT && len == 8)
			goes_on = answer_init(fd, channel, message);
		else if (command == CMD_CBOR)
			goes_on = answer_cbor(fd, channel, message, len);
		else if (command != CMD_CANCEL) /* to which there is no answer */
			goes_on = answer(fd, channel, CMD_ERROR, invalid_command, sizeof(invalid_command));
	}
}

static void
read_answers(const char *path)
{
	FILE *file = fopen(path, "rb");

	if (file == NULL)
		err(1, "%s", path);
	answers_len = fread(answers, 1, sizeof(answers), file);
	if (ferror(file) || !feof(file))
		errx(1, "%s cannot be read, or is too long", path);
	fclose(file);
}

static void
announce(void)
{
	puts("ready");
	fflush(stdout);
}

static void
be_device(void)
{
	struct uhid_event event = {
		.type = UHID_CREATE2,
		.u.create2 = {.bus = BUS_USB, .vendor = VENDOR, .product = PRODUCT, .rd_size = sizeof(descriptor)},
	};
	int fd = open("/dev/uhid", O_RDWR | O_CLOEXEC);

	memcpy(event.u.create2.name, "virtual token", sizeof("virtual token"));
	memcpy(event.u.create2.rd_data, descriptor, sizeof(descriptor));
	if (fd == -1 || write(fd, &event, sizeof(event)) == -1)
		err(1, "/dev/uhid");
	announce();
	serve(fd);
	err(1, "/dev/uhid");
}

static void
listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener, fd;

	if (strlen(path) >= sizeof(address.sun_path))
		errx(2, "%s is too long", path);
	strcpy(address.sun_path, path);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (listener == -1 || bind(listener, (struct sockaddr *)&address, sizeof(address)) == -1 ||
	    listen(listener, 8) == -1)
		err(1, "%s", path);
	announce();
	while ((fd = accept(listener, NULL, NULL)) != -1) {
		serve(fd);
		close(fd);
	}
	err(1, "accept");
}

int
main(int argc, char **argv)
{
	long milliseconds;

	if (argc != 4)
		errx(2, "usage: token ANSWERS DELAY_MS PATH|" UHID);
	read_answers(argv[1]);
	milliseconds = strtol(argv[2], NULL, 10);
	delay.tv_sec = milliseconds / 1000;
	delay.tv_nsec = milliseconds % 1000 * 1000000;
	is_device = strcmp(argv[3], UHID) == 0;
	if (is_device)
		be_device();
	listen_at(argv[3]);
}
