// SPDX-License-Identifier: Apache-2.0
/*
 * memory.c - resident memory of a sandbox's process tree, read from /proc.
 *
 * Runs in the supervisor, where a plan limits memory and no control group
 * can; the same sums as sandbox/run/memory.py. The cheap one counts shared
 * pages once per process; before anything is ended for it, the proportional
 * one (Pss) is taken, which counts them once.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "supervise.h"
#include "sys.h"

struct pids {
	pid_t *values;
	size_t count;
	size_t room;
};

static int pids_add(struct pids *pids, pid_t pid)
{
	if (pids->count == pids->room) {
		size_t room = pids->room ? 2 * pids->room : 64;
		pid_t *values = realloc(pids->values, room * sizeof(pid_t));

		if (!values)
			return -ENOMEM;
		pids->values = values;
		pids->room = room;
	}
	pids->values[pids->count++] = pid;
	return 0;
}

/* "/proc/PID" followed by @rest. */
static void proc_path(char path[64], pid_t pid, const char *rest)
{
	char digits[24];

	sbx_format_u64((uint64_t)pid, 10, digits);
	strcpy(path, "/proc/");
	strcat(path, digits);
	strcat(path, rest);
}

/* Numbers separated by spaces, to the end of a file of any length. */
static int children_read(int dirfd, const char *path, struct pids *found)
{
	char text[1024];
	ssize_t size, i;
	pid_t pid = 0;
	int err = 0;
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;	/* the thread ended meanwhile */
	while (!err && (size = read(fd, text, sizeof(text))) > 0) {
		for (i = 0; i < size && !err; i++) {
			if (text[i] >= '0' && text[i] <= '9') {
				pid = pid * 10 + (text[i] - '0');
				continue;
			}
			if (pid)
				err = pids_add(found, pid);
			pid = 0;
		}
	}
	close(fd);
	return err;
}

/* The children of each thread (proc_pid_task_children(5), Linux 3.5). */
static int children_add(struct pids *found, pid_t pid)
{
	const struct dirent *task;
	char path[64];
	DIR *tasks;
	int err = 0;

	proc_path(path, pid, "/task");
	tasks = opendir(path);
	if (!tasks)
		return 0;	/* it ended meanwhile */
	while (!err && (task = readdir(tasks))) {
		if (task->d_name[0] == '.' || strlen(task->d_name) > 20)
			continue;
		strcpy(path, task->d_name);
		strcat(path, "/children");
		err = children_read(dirfd(tasks), path, found);
	}
	closedir(tasks);
	return err;
}

/* The number that follows @name in a file of /proc; @name "" is its start. */
static uint64_t number_after(const char *text, const char *name, int skip)
{
	const char *at = strstr(text, name);

	if (!at)
		return 0;
	at += strlen(name);
	while (skip--)
		at += strcspn(at, " ") + 1;
	return strtoull(at, NULL, 10);
}

static int file_read(pid_t pid, const char *name, char text[1024])
{
	ssize_t size;
	char path[64];
	int fd;

	proc_path(path, pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size = read(fd, text, 1023);
	if (size < 0)
		size = -errno;
	close(fd);
	if (size < 0)
		return (int)size;
	text[size] = '\0';
	return 0;
}

static uint64_t resident_bytes(pid_t pid)
{
	char text[1024];

	if (file_read(pid, "/statm", text) < 0)
		return 0;
	return number_after(text, "", 1) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t proportional_bytes(pid_t pid)
{
	char text[1024];

	if (file_read(pid, "/smaps_rollup", text) < 0)
		return resident_bytes(pid);	/* not readable: count it whole */
	return number_after(text, "\nPss:", 0) * 1024;
}

/**
 * sbx_tree_memory - what the processes below @root hold, itself left out
 *
 * Orphans of a pid namespace are its pid 1's children, so nothing gets lost by
 * a double fork.
 * Context: supervisor.
 * Return: bytes; exact only where near or over @limit_bytes.
 */
uint64_t sbx_tree_memory(pid_t root, uint64_t limit_bytes)
{
	struct pids pids = { 0 };
	uint64_t resident = 0, proportional = 0;
	size_t i;

	if (children_add(&pids, root) < 0)
		goto out;
	for (i = 0; i < pids.count; i++) {
		resident += resident_bytes(pids.values[i]);
		/* without memory for the list, what is on it counts */
		if (children_add(&pids, pids.values[i]) < 0)
			break;
	}
	if (resident > limit_bytes)
		for (i = 0; i < pids.count; i++)
			proportional += proportional_bytes(pids.values[i]);
out:
	free(pids.values);
	return resident > limit_bytes ? proportional : resident;
}
