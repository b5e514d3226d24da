// SPDX-License-Identifier: Apache-2.0
/*
 * util.c - children, sockets and proc text for the probes.
 *
 * Runs in the process of the probe. Every child is bound to its parent
 * (PDEATHSIG) and to an alarm, so that a probe that is killed leaves nothing.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* The answer of a child that ended without one and without a signal. */
#define CODE_LOST EPROTO

/**
 * errno_of - the errno of a call, as a code
 * @ret: what the call returned
 *
 * Return: 0 if @ret is not negative, else errno.
 */
int errno_of(long ret)
{
	return ret < 0 ? errno : 0;
}

static void bind_to_parent(void)
{
	static const struct rlimit no_core;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	alarm(PROBE_TIMEOUT_S / 2);
}

/**
 * child_code - run a step that may end or change the process in a child
 * @step: returns 0 or a positive errno
 * @argument: for @step
 *
 * Return: what @step returned, or the negated signal that ended the child.
 */
int child_code(probe_step step, void *argument)
{
	int code = CODE_LOST, answer, status, ends[2];
	ssize_t got;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return errno;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		bind_to_parent();
		answer = step(argument);
		if (write(ends[1], &answer, sizeof(answer)) < 0)
			_exit(1);
		_exit(0);
	}
	if (pid < 0)
		code = errno;
	close(ends[1]);
	got = pid < 0 ? 0 : read(ends[0], &answer, sizeof(answer));
	close(ends[0]);
	if (pid < 0)
		return code;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (got == (ssize_t)sizeof(answer))
		return answer;
	return WIFSIGNALED(status) ? -WTERMSIG(status) : code;
}

/**
 * start_sleeper - start a child that only waits
 *
 * Return: its pid, or -1 with errno.
 */
pid_t start_sleeper(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		bind_to_parent();
		for (;;)
			pause();
	}
	return pid;
}

/**
 * end_child - kill and reap a child of this process
 * @pid: from start_sleeper(); nothing happens if it is not positive
 */
void end_child(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/**
 * connect_unix - connect to a stream socket of the unix family and hang up
 * @path: path, or name without the leading NUL
 * @is_abstract: @path is a name of the abstract namespace
 *
 * Return: 0 or a positive errno.
 */
int connect_unix(const char *path, bool is_abstract)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(path);
	socklen_t size;
	int fd, code;

	if (length + 2 > sizeof(address.sun_path))
		return ENAMETOOLONG;
	memcpy(address.sun_path + (is_abstract ? 1 : 0), path, length);
	size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	code = errno_of(connect(fd, (struct sockaddr *)&address, size));
	close(fd);
	return code;
}

/**
 * read_text - read the start of a file as a string
 * @path: the file
 * @buffer: filled in and ended with NUL
 * @size: of @buffer
 *
 * Return: bytes read, or -1 with errno.
 */
ssize_t read_text(const char *path, char *buffer, size_t size)
{
	size_t used = 0;
	ssize_t got;
	int fd, code;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -1;
	do {
		got = read(fd, buffer + used, size - 1 - used);
		if (got > 0)
			used += (size_t)got;
	} while (got > 0 && used < size - 1);
	code = errno;
	close(fd);
	buffer[used] = '\0';
	errno = code;
	return got < 0 && used == 0 ? -1 : (ssize_t)used;
}

/**
 * status_field - find a field in the text of /proc/<pid>/status
 * @status: the text
 * @name: of the field, without the colon
 * @value: its value without leading blanks
 * @size: of @value
 *
 * Return: whether the field is there.
 */
bool status_field(const char *status, const char *name, char *value,
		  size_t size)
{
	size_t length = strlen(name);
	const char *line = status;

	while (line) {
		if (strncmp(line, name, length) == 0 && line[length] == ':') {
			line += length + 1;
			line += strspn(line, " \t");
			snprintf(value, size, "%.*s",
				 (int)strcspn(line, "\n"), line);
			return true;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return false;
}

/**
 * argument_or - an argument of the probe, or what stands for a missing one
 * @argc: number of arguments
 * @argv: arguments
 * @index: which
 * @other: used where there is none
 *
 * Return: the argument or @other.
 */
const char *argument_or(int argc, char **argv, int index, const char *other)
{
	return index < argc ? argv[index] : other;
}

/**
 * long_argument - read a number from the arguments of the probe
 * @argc: number of arguments
 * @argv: arguments
 * @index: which
 * @value: the number
 *
 * Return: 0, or -1 where there is none.
 */
int long_argument(int argc, char **argv, int index, long *value)
{
	char *end;
	long number;

	if (index >= argc)
		return -1;
	errno = 0;
	number = strtol(argv[index], &end, 10);
	if (errno || end == argv[index] || *end)
		return -1;
	*value = number;
	return 0;
}
