// SPDX-License-Identifier: Apache-2.0
/*
 * control.c - runs a probe as root of its own namespaces, without a sandbox.
 *
 * Many calls need a capability that an ordinary user only has in a user
 * namespace of its own. This control shows whether the kernel lets them
 * through there; if it does, a refusal inside the sandbox is the sandbox's.
 *
 * Three processes: the caller waits; its child is pid 1 of the new pid
 * namespace and does nothing but wait (a signal sent by pid 1 to itself would
 * be ignored, so it must not be the probe); the grandchild runs the probe.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN_NAMESPACES                                                \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |  \
	 CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t done;

	if (fd < 0)
		return -1;
	done = write(fd, text, strlen(text));
	close(fd);
	return done == (ssize_t)strlen(text) ? 0 : -1;
}

static int become_root(uid_t uid, gid_t gid)
{
	char map[64];

	if (unshare(OWN_NAMESPACES) != 0)
		return -1;
	snprintf(map, sizeof(map), "0 %u 1\n", uid);
	if (write_text("/proc/self/uid_map", map) != 0)
		return -1;
	if (write_text("/proc/self/setgroups", "deny") != 0)
		return -1;
	snprintf(map, sizeof(map), "0 %u 1\n", gid);
	return write_text("/proc/self/gid_map", map);
}

static int wait_for(pid_t pid)
{
	int status;

	if (pid < 0)
		return PROBE_EXIT_UNPREPARED;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return PROBE_EXIT_UNPREPARED;
	return WIFEXITED(status) ? WEXITSTATUS(status)
				 : 128 + WTERMSIG(status);
}

static int run_here(const struct probe *probe, int argc, char **argv)
{
	struct report report;

	alarm(PROBE_TIMEOUT_S);
	report_init(&report, probe->id);
	probe->run(&report, argc, argv);
	return report_print(&report);
}

static int init_of_namespace(const struct probe *probe, int argc, char **argv)
{
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) != 0)
		return PROBE_EXIT_UNPREPARED;
	pid = fork();
	if (pid == 0)
		_exit(run_here(probe, argc, argv));
	return wait_for(pid);
}

/**
 * run_in_own_userns - run a probe as root of new namespaces
 * @probe: what to run
 * @argc: number of its arguments
 * @argv: its arguments
 *
 * Return: the exit code of the probe, or PROBE_EXIT_UNPREPARED.
 */
int run_in_own_userns(const struct probe *probe, int argc, char **argv)
{
	pid_t pid;

	if (become_root(geteuid(), getegid()) != 0) {
		fprintf(stderr, "own user namespace: %s\n", strerror(errno));
		return PROBE_EXIT_UNPREPARED;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(init_of_namespace(probe, argc, argv));
	return wait_for(pid);
}
