/*
 * Preloaded into ssh's programs, gives the libfido2 in them one USB HID device: the token that listens at the Unix
 * socket that BENCH_TOKEN names.
 *
 * Of libudev it takes the place of what libfido2 asks for the devices, and of libc of what libfido2 opens, reads and
 * writes one by; of every other file these do what they always do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/hidraw.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "descriptor.h"

#define VARIABLE "BENCH_TOKEN"
#define DEVICE "/dev/hidraw-of-the-benchmark"
#define SYSTEM_PATH "/sys/class/hidraw/hidraw-of-the-benchmark"
#define TEXT(number) #number
#define HID_ID(vendor, product) "HID_ID=0003:" TEXT(vendor) ":" TEXT(product) "\n"

/* What libudev's types point to is nobody's business but libudev's. */
struct udev {
	bool is_of_hidraw;
};
struct udev_enumerate;
struct udev_list_entry;
struct udev_device;

static struct udev all;
static int token = -1;

struct udev *
udev_new(void)
{
	return &all;
}

struct udev *
udev_unref(struct udev *udev)
{
	(void)udev;
	return NULL;
}

struct udev_enumerate *
udev_enumerate_new(struct udev *udev)
{
	return (struct udev_enumerate *)udev;
}

struct udev_enumerate *
udev_enumerate_unref(struct udev_enumerate *enumerate)
{
	(void)enumerate;
	return NULL;
}

int
udev_enumerate_add_match_subsystem(struct udev_enumerate *enumerate, const char *subsystem)
{
	(void)enumerate;
	all.is_of_hidraw = strcmp(subsystem, "hidraw") == 0;
	return 0;
}

int
udev_enumerate_scan_devices(struct udev_enumerate *enumerate)
{
	(void)enumerate;
	return 0;
}

struct udev_list_entry *
udev_enumerate_get_list_entry(struct udev_enumerate *enumerate)
{
	return all.is_of_hidraw && getenv(VARIABLE) ? (struct udev_list_entry *)enumerate : NULL;
}

struct udev_list_entry *
udev_list_entry_get_next(struct udev_list_entry *entry)
{
	(void)entry;
	return NULL;
}

const char *
udev_list_entry_get_name(struct udev_list_entry *entry)
{
	(void)entry;
	return SYSTEM_PATH;
}

struct udev_device *
udev_device_new_from_syspath(struct udev *udev, const char *path)
{
	(void)path;
	return (struct udev_device *)udev;
}

struct udev_device *
udev_device_unref(struct udev_device *device)
{
	(void)device;
	return NULL;
}

const char *
udev_device_get_devnode(struct udev_device *device)
{
	(void)device;
	return DEVICE;
}

struct udev_device *
udev_device_get_parent_with_subsystem_devtype(struct udev_device *device, const char *subsystem, const char *type)
{
	(void)subsystem;
	(void)type;
	return device;
}

const char *
udev_device_get_sysattr_value(struct udev_device *device, const char *name)
{
	(void)device;
	return strcmp(name, "uevent") == 0 ? HID_ID(VENDOR, PRODUCT) : "virtual token";
}

static int
connect_to_token(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv(VARIABLE);

	if (path == NULL || strlen(path) >= sizeof(address.sun_path)) {
		errno = ENOENT;
		return -1;
	}
	strcpy(address.sun_path, path);
	token = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (token != -1 && connect(token, (struct sockaddr *)&address, sizeof(address)) == -1) {
		close(token);
		token = -1;
	}
	return token;
}

int
open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list arguments;

	if (strcmp(path, DEVICE) == 0)
		return connect_to_token();
	va_start(arguments, flags);
	if (flags & (O_CREAT | O_TMPFILE))
		mode = va_arg(arguments, mode_t);
	va_end(arguments);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int
fstat(int fd, struct stat *status)
{
	if (fd != token || token == -1)
		return fstatat(fd, "", status, AT_EMPTY_PATH);
	memset(status, 0, sizeof(*status));
	status->st_mode = S_IFCHR | 0600;
	return 0;
}

int
flock(int fd, int operation)
{
	return fd == token ? 0 : (int)syscall(SYS_flock, fd, operation);
}

int
ioctl(int fd, unsigned long request, ...)
{
	struct hidraw_report_descriptor *report_descriptor;
	void *argument;
	va_list arguments;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (fd != token || token == -1)
		return (int)syscall(SYS_ioctl, fd, request, argument);
	switch (request) {
	case HIDIOCGRDESCSIZE:
		*(int *)argument = sizeof(descriptor);
		return 0;
	case HIDIOCGRDESC:
		report_descriptor = argument;
		memcpy(report_descriptor->value, descriptor, sizeof(descriptor));
		return 0;
	default:
		errno = EINVAL;
		return -1;
	}
}

/* Before a report that is written stands its number, which is none. */
ssize_t
write(int fd, const void *buffer, size_t count)
{
	if (fd != token || token == -1)
		return syscall(SYS_write, fd, buffer, count);
	if (send(fd, (const uint8_t *)buffer + 1, REPORT, MSG_NOSIGNAL) != REPORT)
		return -1;
	return (ssize_t)count;
}

int
close(int fd)
{
	if (fd == token)
		token = -1;
	return (int)syscall(SYS_close, fd);
}
