// SPDX-License-Identifier: Apache-2.0
/*
 * f_files.c - group F: files, sockets and signals outside.
 *
 * The test hands over the paths: a directory that the sandbox shows read-only,
 * a file and sockets that it does not show. Every change that goes through in
 * the control is undone before the probe ends.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FDS_MAX 4096

static int create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd >= 0)
		close(fd);
	return fd;
}

static void change_entries(struct report *report)
{
	report_attempt(report, "create", create("new"), 0);
	unlink("new");
	report_attempt(report, "mkdir", mkdir("new", 0755), 0);
	rmdir("new");
	report_attempt(report, "mkfifo", mkfifo("new", 0600), 0);
	unlink("new");
	report_attempt(report, "symlink", symlink("keep", "new"), 0);
	unlink("new");
	report_attempt(report, "link", link("keep", "new"), 0);
	unlink("new");
	report_attempt(report, "rename", rename("keep", "new"), 0);
	rename("new", "keep");
}

static void change_metadata(struct report *report)
{
	report_attempt(report, "chmod", chmod("keep", 0640), 0);
	report_attempt(report, "chown", chown("keep", getuid(), getgid()), 0);
	report_attempt(report, "utime",
		       utimensat(AT_FDCWD, "keep", NULL, 0), 0);
	report_attempt(report, "setxattr",
		       setxattr("keep", "user.sbx-probe", "x", 1, 0), 0);
	removexattr("keep", "user.sbx-probe");
}

static void create_on_host(struct report *report)
{
	static const char *const places[] = {
		"/",	 "/boot", "/etc",     "/home",	  "/opt", "/root",
		"/srv",	 "/usr",  "/usr/bin", "/usr/lib", "/var",
	};
	char path[64], name[PROBE_NAME_MAX];
	long fd;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s/.sbx-probe-canary",
			 places[i]);
		snprintf(name, sizeof(name), "create:%s", places[i]);
		fd = create(path);
		report_attempt(report, name, fd, 0);
		if (fd >= 0)
			unlink(path);
	}
}

/** f01 - argument: a directory shown read-only that holds a file "keep" */
static void f01(struct report *report, int argc, char **argv)
{
	const char *directory = argument_or(argc, argv, 0, "");
	long gone;

	if (chdir(directory) != 0) {
		report_unprepared(report, "no directory %s", directory);
		return;
	}
	change_entries(report);
	change_metadata(report);
	gone = unlink("keep");
	report_attempt(report, "unlink", gone, 0);
	if (gone == 0)
		create("keep");
	create_on_host(report);
}

/** f02 - argument: a file shown read-only; shorten it in three ways */
static void f02(struct report *report, int argc, char **argv)
{
	const char *path = argument_or(argc, argv, 0, "");
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		report_unprepared(report, "no file %s", path);
		return;
	}
	report_attempt(report, "truncate", truncate(path, 0), 0);
	report_attempt(report, "open-truncate",
		       open(path, O_RDONLY | O_TRUNC | O_CLOEXEC), 0);
	report_attempt(report, "open-write",
		       open(path, O_WRONLY | O_CLOEXEC), 0);
	report_attempt(report, "open-append",
		       open(path, O_WRONLY | O_APPEND | O_CLOEXEC), 0);
}

/** f04 - ask a device something; RNDGETENTCNT needs no capability */
static void f04(struct report *report, int argc, char **argv)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC), bits;

	(void)argc;
	(void)argv;
	if (fd < 0) {
		report_unprepared(report, "/dev/urandom cannot be opened");
		return;
	}
	report_attempt(report, "ioctl", ioctl(fd, RNDGETENTCNT, &bits), 0);
}

/** f07 - arguments: name=path of sockets that the host listens on */
static void f07(struct report *report, int argc, char **argv)
{
	char name[32];

	for (int i = 0; i < argc; i++) {
		const char *path = strchr(argv[i], '=');

		if (!path)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(path - argv[i]),
			 argv[i]);
		report_code(report, name, connect_unix(path + 1, false));
	}
}

/** f08 - argument: name of an abstract socket that the host listens on */
static void f08(struct report *report, int argc, char **argv)
{
	if (argc < 1) {
		report_unprepared(report, "needs a name");
		return;
	}
	report_code(report, "connect", connect_unix(argv[0], true));
}

/** f09 - argument: a host pid; signals to it, and to pid 1 of the sandbox */
static void f09(struct report *report, int argc, char **argv)
{
	long pid, pidfd;
	int ends[2];

	if (long_argument(argc, argv, 0, &pid) != 0 || pipe(ends) != 0) {
		report_unprepared(report, "needs a pid and a pipe");
		return;
	}
	report_attempt(report, "kill", kill((pid_t)pid, 0), 0);
	report_attempt(report, "tgkill", syscall(SYS_tgkill, pid, pid, 0), 0);
	report_attempt(report, "setown",
		       fcntl(ends[0], F_SETOWN, (pid_t)pid), 0);
	pidfd = syscall(PROBE_NR_PIDFD_OPEN, pid, 0);
	report_attempt(report, "pidfd", pidfd, 0);
	report_attempt(report, "init", kill(1, 0), 0);
}

static bool is_socket(int fd)
{
	struct stat found;

	return fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode);
}

static bool delivers_descriptor(int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec vector = { &byte, 1 };
	struct msghdr message = { .msg_iov = &vector,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };

	return recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) > 0 &&
	       CMSG_FIRSTHDR(&message) != NULL;
}

/** f10 - sockets that were inherited, and what waits in them */
static void f10(struct report *report, int argc, char **argv)
{
	bool has_socket = false, has_message = false;

	(void)argc;
	(void)argv;
	for (int fd = 0; fd < FDS_MAX; fd++) {
		if (!is_socket(fd))
			continue;
		has_socket = true;
		has_message |= delivers_descriptor(fd);
	}
	report_presence(report, "socket", has_socket);
	report_presence(report, "descriptor", has_message);
}

/** f11 - argument: a link in the working directory that leads outside */
static void f11(struct report *report, int argc, char **argv)
{
	const char *link = argument_or(argc, argv, 0, "");
	char path[4096];
	struct stat found;
	long fd;

	if (lstat(link, &found) != 0 || !S_ISLNK(found.st_mode)) {
		report_unprepared(report, "no link %s", link);
		return;
	}
	snprintf(path, sizeof(path), "%s/secret", link);
	report_attempt(report, "read", open(path, O_RDONLY | O_CLOEXEC), 0);
	snprintf(path, sizeof(path), "%s/new", link);
	fd = create(path);
	report_attempt(report, "create", fd, 0);
	if (fd >= 0)
		unlink(path);
}

/** f13 - argument: a file outside; reach it over links of proc */
static void f13(struct report *report, int argc, char **argv)
{
	static const char *const roots[] = { "self/root", "1/root",
					     "thread-self/root" };
	char path[4096], name[PROBE_NAME_MAX];
	const char *file = argument_or(argc, argv, 0, "");

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%s%s", roots[i], file);
		snprintf(name, sizeof(name), "%s", roots[i]);
		report_attempt(report, name, open(path, O_RDONLY | O_CLOEXEC),
			       0);
	}
	report_attempt(report, "1/cwd",
		       open("/proc/1/cwd", O_PATH | O_DIRECTORY | O_CLOEXEC),
		       0);
	report_attempt(report, "1/fd",
		       open("/proc/1/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		       0);
	snprintf(path, sizeof(path), "/proc/%d/root%s", getppid(), file);
	report_attempt(report, "parent/root",
		       open(path, O_RDONLY | O_CLOEXEC), 0);
}

/** f14 - arguments: secret files of the home, then =NAME of variables */
static void f14(struct report *report, int argc, char **argv)
{
	char name[PROBE_NAME_MAX];

	for (int i = 0; i < argc; i++) {
		if (argv[i][0] == '=') {
			snprintf(name, sizeof(name), "env:%s", argv[i] + 1);
			report_presence(report, name,
					getenv(argv[i] + 1) != NULL);
			continue;
		}
		snprintf(name, sizeof(name), "file:%s",
			 strrchr(argv[i], '/') ? strrchr(argv[i], '/') + 1
					       : argv[i]);
		report_attempt(report, name,
			       open(argv[i], O_RDONLY | O_CLOEXEC), 0);
	}
}

const struct probe f_probes[] = {
	{ "F01", "changes outside", f01 },
	{ "F02", "truncation", f02 },
	{ "F04", "device ioctl", f04 },
	{ "F07", "pathname sockets", f07 },
	{ "F08", "abstract sockets", f08 },
	{ "F09", "signals outwards", f09 },
	{ "F10", "descriptors over sockets", f10 },
	{ "F11", "links out of a grant", f11 },
	{ "F13", "magic links", f13 },
	{ "F14", "secrets", f14 },
	{ NULL, NULL, NULL },
};
