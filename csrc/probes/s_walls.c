// SPDX-License-Identifier: Apache-2.0
/*
 * s_walls.c - group S: calls that make, enter or see past walls.
 *
 * Namespaces, mounts, other processes' memory and descriptors. Conventions:
 * see s_syscalls.c.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NO_FD (-1)

/**
 * struct named_flag - a flag and the name of the attempt with it
 * @name: of the attempt
 * @flag: its bits
 */
struct named_flag {
	const char *name;
	uint64_t flag;
};

static const struct named_flag namespaces[] = {
	{ "newuser", CLONE_NEWUSER },	  { "newns", CLONE_NEWNS },
	{ "newpid", CLONE_NEWPID },	  { "newnet", CLONE_NEWNET },
	{ "newipc", CLONE_NEWIPC },	  { "newuts", CLONE_NEWUTS },
	{ "newcgroup", CLONE_NEWCGROUP },
};

#define NAMESPACE_COUNT (sizeof(namespaces) / sizeof(namespaces[0]))

static long reap(long pid)
{
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid((pid_t)pid, NULL, 0);
	return pid;
}

/** s05 - clone3, with a namespace and without: its flags lie in memory */
static void s05(struct report *report, int argc, char **argv)
{
	struct clone_args plain = { .exit_signal = SIGCHLD };
	struct clone_args user = { .flags = CLONE_NEWUSER,
				   .exit_signal = SIGCHLD };

	(void)argc;
	(void)argv;
	report_attempt(report, "newuser",
		       reap(syscall(PROBE_NR_CLONE3, &user, sizeof(user))), 0);
	report_attempt(report, "plain",
		       reap(syscall(PROBE_NR_CLONE3, &plain, sizeof(plain))),
		       0);
}

/** s06 - clone with each namespace bit, also with a bit the kernel drops */
static void s06(struct report *report, int argc, char **argv)
{
	uint64_t high = (uint64_t)1 << 32 | CLONE_NEWUSER | SIGCHLD;

	(void)argc;
	(void)argv;
	fflush(stdout);
	for (size_t i = 0; i < NAMESPACE_COUNT; i++)
		report_attempt(report, namespaces[i].name,
			       reap(syscall(SYS_clone,
					    namespaces[i].flag | SIGCHLD, 0, 0,
					    0, 0)),
			       0);
	report_attempt(report, "high-half",
		       reap(syscall(SYS_clone, high, 0, 0, 0, 0)), 0);
}

static int unshare_step(void *argument)
{
	const struct named_flag *row = argument;

	return errno_of(unshare((int)row->flag));
}

/** s07 - unshare of each namespace, and the limit behind the filter */
static void s07(struct report *report, int argc, char **argv)
{
	char text[32] = "";

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < NAMESPACE_COUNT; i++)
		report_code(report, namespaces[i].name,
			    child_code(unshare_step, (void *)&namespaces[i]));
	if (read_text("/proc/sys/user/max_user_namespaces", text,
		      sizeof(text)) < 0)
		report_note(report, "max_user_namespaces is not visible");
	report_presence(report, "limit", strtol(text, NULL, 10) > 0);
}

/** s08 - setns into an own namespace, by descriptor and by pidfd */
static void s08(struct report *report, int argc, char **argv)
{
	int uts = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	int self = (int)syscall(PROBE_NR_PIDFD_OPEN, getpid(), 0);

	(void)argc;
	(void)argv;
	report_attempt(report, "uts", syscall(SYS_setns, uts, CLONE_NEWUTS),
		       EBADF);
	report_attempt(report, "pidfd", syscall(SYS_setns, self, CLONE_NEWUTS),
		       EBADF);
	report_attempt(report, "no-fd", syscall(SYS_setns, NO_FD, 0), EBADF);
}

static int traceme_step(void *argument)
{
	(void)argument;
	return errno_of(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

/** s17 - ptrace of a process of the same sandbox */
static void s17(struct report *report, int argc, char **argv)
{
	pid_t sibling = start_sleeper();

	(void)argc;
	(void)argv;
	report_code(report, "traceme", child_code(traceme_step, NULL));
	report_attempt(report, "seize",
		       ptrace(PTRACE_SEIZE, sibling, NULL, NULL), 0);
	end_child(sibling);
}

/** s18 - read and write the memory of another process */
static void s18(struct report *report, int argc, char **argv)
{
	static char here, there;
	struct iovec local = { &here, 1 };
	struct iovec remote = { &there, 1 };
	pid_t sibling = start_sleeper();

	(void)argc;
	(void)argv;
	report_attempt(report, "readv",
		       process_vm_readv(sibling, &local, 1, &remote, 1, 0), 0);
	report_attempt(report, "writev",
		       process_vm_writev(sibling, &local, 1, &remote, 1, 0),
		       0);
	report_attempt(report, "empty",
		       process_vm_readv(getppid(), NULL, 0, NULL, 0, 0), 0);
	end_child(sibling);
}

/** s19 - compare and take descriptors of another process */
static void s19(struct report *report, int argc, char **argv)
{
	pid_t sibling = start_sleeper();
	int fd = (int)syscall(PROBE_NR_PIDFD_OPEN, sibling, 0);

	(void)argc;
	(void)argv;
	report_attempt(report, "kcmp",
		       syscall(SYS_kcmp, getpid(), sibling, 0, 1, 1), 0);
	report_attempt(report, "pidfd_getfd",
		       syscall(PROBE_NR_PIDFD_GETFD, fd, 1, 0), EBADF);
	end_child(sibling);
}

/** s20 - file handles name files whatever the mount view is */
static void s20(struct report *report, int argc, char **argv)
{
	union {
		struct file_handle handle;
		unsigned char space[sizeof(struct file_handle) + 128];
	} store = { .handle = { .handle_bytes = 128 } };
	int mount_id, root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)argc;
	(void)argv;
	report_attempt(report, "name_to_handle_at",
		       syscall(SYS_name_to_handle_at, root, "", &store.handle,
			       &mount_id, AT_EMPTY_PATH),
		       0);
	report_attempt(report, "open_by_handle_at",
		       syscall(SYS_open_by_handle_at, root, &store.handle,
			       O_PATH),
		       0);
}

/** s21 - the new mount API, in the order in which it would be used */
static void s21(struct report *report, int argc, char **argv)
{
	const unsigned int config_create = 6, clone_tree = 1, empty_path = 4;
	uint64_t attributes[4] = { 0 };
	long context, tree;

	(void)argc;
	(void)argv;
	context = syscall(PROBE_NR_FSOPEN, "tmpfs", 0);
	report_attempt(report, "fsopen", context, 0);
	report_attempt(report, "fsconfig",
		       syscall(PROBE_NR_FSCONFIG, context, config_create, NULL,
			       NULL, 0),
		       0);
	tree = syscall(PROBE_NR_FSMOUNT, context, 0, 0);
	report_attempt(report, "fsmount", tree, 0);
	report_attempt(report, "move_mount",
		       syscall(PROBE_NR_MOVE_MOUNT, tree, "", AT_FDCWD, "/tmp",
			       empty_path),
		       0);
	report_attempt(report, "fspick",
		       syscall(PROBE_NR_FSPICK, AT_FDCWD, "/tmp", 0), 0);
	report_attempt(report, "open_tree",
		       syscall(PROBE_NR_OPEN_TREE, AT_FDCWD, "/tmp",
			       clone_tree),
		       0);
	report_attempt(report, "mount_setattr",
		       syscall(PROBE_NR_MOUNT_SETATTR, AT_FDCWD, "/tmp", 0,
			       attributes, sizeof(attributes)),
		       0);
}

/** s22 - the old mount API */
static void s22(struct report *report, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	report_attempt(report, "mount",
		       mount("sbx-probe", "/tmp", "tmpfs", 0, NULL), 0);
	report_attempt(report, "umount2", umount2("/tmp", MNT_DETACH), 0);
	report_attempt(report, "propagation",
		       mount("none", "/", NULL, MS_PRIVATE, NULL), 0);
	report_attempt(report, "pivot_root",
		       syscall(SYS_pivot_root, "", ""), ENOENT);
}

static int chroot_step(void *argument)
{
	(void)argument;
	return errno_of(chroot("."));
}

/** s23 - chroot, and a directory descriptor to climb out by */
static void s23(struct report *report, int argc, char **argv)
{
	bool has_directory = false;

	(void)argc;
	(void)argv;
	report_code(report, "chroot", child_code(chroot_step, NULL));
	for (int fd = 0; fd < 4096; fd++)
		if (openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC) >= 0)
			has_directory = true;
	report_presence(report, "directory-fd", has_directory);
}

const struct probe s_wall_probes[] = {
	{ "S05", "clone3", s05 },
	{ "S06", "clone with namespace flags", s06 },
	{ "S07", "unshare, nested user namespaces", s07 },
	{ "S08", "setns", s08 },
	{ "S17", "ptrace", s17 },
	{ "S18", "cross-process memory", s18 },
	{ "S19", "kcmp, pidfd_getfd", s19 },
	{ "S20", "file handles", s20 },
	{ "S21", "new mount API", s21 },
	{ "S22", "old mount API", s22 },
	{ "S23", "chroot", s23 },
	{ NULL, NULL, NULL },
};
