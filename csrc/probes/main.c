// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - sbx-probe: runs one probe of the security catalogue.
 *
 *	sbx-probe ID [arguments]		run the probe here
 *	sbx-probe --in-userns ID [arguments]	as root of own namespaces
 *	sbx-probe --list			ids and titles, tab-separated
 *	sbx-probe --gained			exit 1 if exec gave an identity
 *	sbx-probe --hold-ipc KEY NAME		hold IPC objects until EOF
 *
 * Static, so that it runs behind any view of the file system.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct probe *const groups[] = {
	s_probes, s_wall_probes, s_filter_probes, n_probes, f_probes,
	p_probes, k_probes,	 x_probes,	  NULL,
};

static const struct probe *find_probe(const char *id)
{
	for (size_t i = 0; groups[i]; i++)
		for (const struct probe *row = groups[i]; row->id; row++)
			if (strcmp(row->id, id) == 0)
				return row;
	return NULL;
}

static int list_probes(void)
{
	for (size_t i = 0; groups[i]; i++)
		for (const struct probe *row = groups[i]; row->id; row++)
			printf("%s\t%s\n", row->id, row->title);
	return fflush(stdout) == 0 ? 0 : PROBE_EXIT_UNPREPARED;
}

/**
 * gained - say whether executing this file gave more than the caller had
 *
 * Context: started by probe N16 from a file with set-id bits or capabilities.
 * Return: 1 if it did, 0 if not.
 */
static int gained(void)
{
	char status[8192], value[64];

	if (geteuid() != getuid() || getegid() != getgid())
		return 1;
	if (read_text("/proc/self/status", status, sizeof(status)) < 0 ||
	    !status_field(status, "CapPrm", value, sizeof(value)))
		return PROBE_EXIT_UNPREPARED;
	return strtoull(value, NULL, 16) ? 1 : 0;
}

/**
 * hold_ipc - keep a SysV segment and a POSIX queue until stdin ends
 * @key: of the segment
 * @name: of the queue, without a slash
 *
 * Context: outside the sandbox; the objects that probe N18 looks for.
 * Return: the exit code.
 */
static int hold_ipc(const char *key, const char *name)
{
	int segment, queue;
	char byte;

	segment = shmget((key_t)strtol(key, NULL, 10), 4096,
			 IPC_CREAT | IPC_EXCL | 0600);
	if (segment < 0)
		return PROBE_EXIT_UNPREPARED;
	queue = (int)syscall(SYS_mq_open, name, O_CREAT | O_EXCL | O_RDONLY,
			     0600, NULL);
	if (queue >= 0) {
		puts("held");
		fflush(stdout);
		while (read(STDIN_FILENO, &byte, 1) > 0)
			;
		syscall(SYS_mq_unlink, name);
	}
	shmctl(segment, IPC_RMID, NULL);
	return queue >= 0 ? 0 : PROBE_EXIT_UNPREPARED;
}

static int usage(void)
{
	fputs("usage: sbx-probe [--in-userns] ID [arguments] | --list\n",
	      stderr);
	return PROBE_EXIT_UNPREPARED;
}

int main(int argc, char **argv)
{
	const struct probe *probe;
	struct report report;
	int first = 1;

	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return list_probes();
	if (argc == 2 && strcmp(argv[1], "--gained") == 0)
		return gained();
	if (argc == 4 && strcmp(argv[1], "--hold-ipc") == 0)
		return hold_ipc(argv[2], argv[3]);
	if (argc > 1 && strcmp(argv[1], "--in-userns") == 0)
		first = 2;
	probe = argc > first ? find_probe(argv[first]) : NULL;
	if (!probe)
		return usage();
	argc -= first + 1;
	argv += first + 1;
	if (first == 2)
		return run_in_own_userns(probe, argc, argv);
	alarm(PROBE_TIMEOUT_S);
	report_init(&report, probe->id);
	probe->run(&report, argc, argv);
	return report_print(&report);
}
