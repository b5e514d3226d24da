// SPDX-License-Identifier: Apache-2.0
/*
 * group_run.c - run a command in the control groups that an entry names.
 *
 *   group_run ENTRY RUN-ID CPU-LIMIT-MS COMMAND [ARGUMENT]...
 *
 * A small supervisor for tests/integration/test_native_groups.py: it makes the
 * groups, lets the command in, looks at them until the command has ended, and
 * prints what they say. Exit code: 0, or 2 where a step failed, which it names.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/group.h"

#define LOOK_US 20000

static int fail(const char *what, int err)
{
	printf("%s: %s\n", what, strerror(-err));
	return 2;
}

static void *entry_read(const char *path, size_t *size)
{
	struct stat info;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *blob;

	if (fd < 0 || fstat(fd, &info) < 0)
		exit(fail(path, -errno));
	*size = (size_t)info.st_size;
	blob = aligned_alloc(8, (*size + 7) / 8 * 8);
	if (!blob || read(fd, blob, *size) != info.st_size)
		exit(fail(path, -EIO));
	close(fd);
	return blob;
}

/* The command, which waits until it is let go: the pipe's other end closes. */
static pid_t command_start(char *argv[], int gate[2])
{
	char byte;
	pid_t pid = fork();

	if (pid)
		return pid;
	setsid();
	close(gate[1]);
	while (read(gate[0], &byte, 1) > 0)
		continue;
	execvp(argv[0], argv);
	_exit(127);
}

int main(int argc, char *argv[])
{
	struct sbx_ending ending = { 0 };
	struct sbx_group group;
	struct sbx_error error;
	struct sbx_view view;
	uint64_t limit_ms;
	int gate[2], err;
	size_t size;
	void *blob;
	pid_t pid;

	if (argc < 5)
		return fail("arguments", -EINVAL);
	blob = entry_read(argv[1], &size);
	err = sbx_view_open(&view, blob, size, SBX_ENTRY_MAGIC, SBX_ENTRY_MAX,
			    &error);
	if (!err)
		err = sbx_group_make(&group, &view, argv[2]);
	if (err)
		return fail("make", err);
	limit_ms = strtoull(argv[3], NULL, 10);
	if (pipe2(gate, O_CLOEXEC) < 0)
		return fail("pipe", -errno);
	pid = command_start(&argv[4], gate);
	err = sbx_group_join(&group, pid);
	close(gate[0]);
	close(gate[1]);
	if (err)
		return fail("join", err);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		ending.cause = (int32_t)sbx_group_check(&group, limit_ms);
		if (ending.cause) {
			sbx_group_kill(&group);
			kill(-pid, SIGKILL);
			waitpid(pid, NULL, 0);
			break;
		}
		usleep(LOOK_US);
	}
	sbx_group_usage(&group, &ending);
	err = sbx_group_end(&group);
	printf("%d %u %d %llu %d\n", ending.cause, ending.hits,
	       (ending.flags & SBX_ENDING_PEAK_KNOWN) != 0,
	       (unsigned long long)ending.memory_peak_bytes, err);
	free(blob);
	return 0;
}
