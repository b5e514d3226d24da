// SPDX-License-Identifier: Apache-2.0
/*
 * x_processes.c - group X: terminal, limits, core dumps.
 *
 * Each probe ends and reaps what it started. The amounts come from the test,
 * so that the same probe stays below a limit outside and above it inside.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1024L * 1024L)
#define CHILDREN_MAX 8192
#define CHUNK_MIB 16

/** s11 - push a byte into the terminal on descriptor 0 */
static void s11(struct report *report, int argc, char **argv)
{
	int own = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	char byte = '#';

	(void)argc;
	(void)argv;
	report_works(report, "terminal", isatty(STDIN_FILENO) ? 0 : -1);
	report_attempt(report, "stdin", ioctl(STDIN_FILENO, TIOCSTI, &byte),
		       0);
	if (own >= 0)
		report_attempt(report, "tty", ioctl(own, TIOCSTI, &byte), 0);
}

/**
 * x01 - arguments: session id of the caller, device that its terminal is on;
 * that terminal, or another, is descriptor 0
 */
static void x01(struct report *report, int argc, char **argv)
{
	struct stat st;
	pid_t group;
	long session, device;

	if (long_argument(argc, argv, 0, &session) != 0 ||
	    long_argument(argc, argv, 1, &device) != 0 ||
	    fstat(STDIN_FILENO, &st) < 0) {
		report_unprepared(report, "needs a session id and a device");
		return;
	}
	report_presence(report, "terminal", st.st_dev == (dev_t)device);
	report_presence(report, "session", getsid(0) == (pid_t)session);
	report_attempt(report, "foreground",
		       ioctl(STDIN_FILENO, TIOCGPGRP, &group), 0);
	report_attempt(report, "steal", ioctl(STDIN_FILENO, TIOCSCTTY, 1), 0);
	report_attempt(report, "leave", ioctl(STDIN_FILENO, TIOCNOTTY), 0);
}

/** x06 - argument: how many children to have at once */
static void x06(struct report *report, int argc, char **argv)
{
	static pid_t children[CHILDREN_MAX];
	long wanted, count;
	int code = 0;

	if (long_argument(argc, argv, 0, &wanted) != 0 ||
	    wanted > CHILDREN_MAX) {
		report_unprepared(report, "needs a count");
		return;
	}
	for (count = 0; count < wanted; count++) {
		children[count] = start_sleeper();
		if (children[count] < 0) {
			code = errno;
			break;
		}
	}
	report_note(report, "%ld children", count);
	for (long i = 0; i < count; i++)
		kill(children[i], SIGKILL);
	for (long i = 0; i < count; i++)
		end_child(children[i]);
	report_code(report, "fork", code);
}

static int touch_step(void *argument)
{
	const long *mib = argument;
	char *memory;

	for (long i = 0; i < *mib; i += CHUNK_MIB) {
		memory = mmap(NULL, CHUNK_MIB * MIB, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (memory == MAP_FAILED)
			return errno;
		memset(memory, 1, CHUNK_MIB * MIB);
	}
	return 0;
}

/** x07 - arguments: MiB to touch, and for how many seconds to keep them */
static void x07(struct report *report, int argc, char **argv)
{
	long mib, seconds;
	int code;

	if (long_argument(argc, argv, 0, &mib) != 0) {
		report_unprepared(report, "needs MiB");
		return;
	}
	code = touch_step(&mib);
	if (code == 0 && long_argument(argc, argv, 1, &seconds) == 0)
		sleep((unsigned int)seconds);
	report_code(report, "touch", code);
}

static int fill(const char *directory, long mib, char *block)
{
	char path[4096];
	int fd, code = 0;

	for (long file = 0; code == 0 && file < mib / CHUNK_MIB + 1; file++) {
		snprintf(path, sizeof(path), "%s/sbx-probe-%ld", directory,
			 file);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			return errno;
		for (int i = 0; code == 0 && i < CHUNK_MIB; i++)
			if (write(fd, block, MIB) != MIB)
				/* a short write: the next one says why */
				code = errno_of(write(fd, block, MIB));
		close(fd);
	}
	return code;
}

/** x08 - arguments: a directory, MiB to write there */
static void x08(struct report *report, int argc, char **argv)
{
	const char *directory = argument_or(argc, argv, 0, "");
	static char block[MIB];
	char path[4096];
	long mib;
	int code;

	if (long_argument(argc, argv, 1, &mib) != 0) {
		report_unprepared(report, "needs directory and MiB");
		return;
	}
	signal(SIGXFSZ, SIG_IGN);
	code = fill(directory, mib, block);
	for (long file = 0; file < mib / CHUNK_MIB + 1; file++) {
		snprintf(path, sizeof(path), "%s/sbx-probe-%ld", directory,
			 file);
		unlink(path);
	}
	report_code(report, "bytes", code);
}

/** x09 - argument: how many descriptors to have at once */
static void x09(struct report *report, int argc, char **argv)
{
	struct rlimit limit;
	long wanted, count;
	int code = 0;

	if (long_argument(argc, argv, 0, &wanted) != 0) {
		report_unprepared(report, "needs a count");
		return;
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (count = 0; code == 0 && count < wanted; count++)
		code = errno_of(dup(STDOUT_FILENO));
	report_note(report, "%ld descriptors", count);
	report_code(report, "dup", code);
}

/** x11 - raise the limit of core dumps, then abort a child */
static void x11(struct report *report, int argc, char **argv)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int status = 0;
	pid_t pid;

	(void)argc;
	(void)argv;
	report_attempt(report, "raise", setrlimit(RLIMIT_CORE, &unlimited), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		abort();
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFSIGNALED(status)) {
		report_unprepared(report, "no child was ended by a signal");
		return;
	}
	report_presence(report, "dump", WCOREDUMP(status));
}

const struct probe x_probes[] = {
	{ "S11", "TIOCSTI on the terminal", s11 },
	{ "X01", "session and terminal", x01 },
	{ "X06", "many processes", x06 },
	{ "X07", "much memory", x07 },
	{ "X08", "full file systems", x08 },
	{ "X09", "many descriptors", x09 },
	{ "X11", "core dumps", x11 },
	{ NULL, NULL, NULL },
};
