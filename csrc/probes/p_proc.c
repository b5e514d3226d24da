// SPDX-License-Identifier: Apache-2.0
/*
 * p_proc.c - group P: proc, sysfs, devices, cgroup files.
 *
 * Files of the kernel are opened and at most read: nothing is ever written to
 * them, because the control may run where the write would go through.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void open_to_write(struct report *report, const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);

	report_attempt(report, path, fd, 0);
	if (fd >= 0)
		close(fd);
}

/** p01 - open settings of the kernel for writing */
static void p01(struct report *report, int argc, char **argv)
{
	static const char *const paths[] = {
		"/proc/sys/kernel/core_pattern",
		"/proc/sys/kernel/modprobe",
		"/proc/sys/kernel/hostname",
		"/proc/sys/kernel/domainname",
		"/proc/sys/vm/overcommit_memory",
		"/proc/sys/vm/drop_caches",
		"/proc/sys/fs/binfmt_misc/register",
		"/proc/sys/fs/file-max",
		"/proc/sys/net/ipv4/ip_forward",
		"/proc/sys/user/max_user_namespaces",
		"/proc/sysrq-trigger",
	};

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		open_to_write(report, paths[i]);
}

/**
 * content_code - whether a path of proc tells anything
 * @path: file or directory
 *
 * Return: 0 if a byte or an entry can be read, ENODATA if it is empty or is
 * the null device, else the errno.
 */
static int content_code(const char *path)
{
	struct dirent *entry;
	struct stat found;
	int code = ENODATA;
	char text[16];
	DIR *directory;

	if (stat(path, &found) != 0)
		return errno;
	if (S_ISCHR(found.st_mode))
		return found.st_rdev == makedev(1, 3) ? ENODATA : 0;
	if (!S_ISDIR(found.st_mode)) {
		ssize_t got = read_text(path, text, sizeof(text));

		return got < 0 ? errno : got == 0 ? ENODATA : 0;
	}
	directory = opendir(path);
	if (!directory)
		return errno;
	while ((entry = readdir(directory)) != NULL)
		if (entry->d_name[0] != '.')
			code = 0;
	closedir(directory);
	return code;
}

/** p02 - read what proc tells about the whole machine */
static void p02(struct report *report, int argc, char **argv)
{
	static const char *const paths[] = {
		"/proc/acpi",	  "/proc/asound",	"/proc/interrupts",
		"/proc/kcore",	  "/proc/keys",		"/proc/latency_stats",
		"/proc/modules",  "/proc/sched_debug",	"/proc/scsi",
		"/proc/timer_list", "/proc/timer_stats",
	};

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		report_code(report, paths[i], content_code(paths[i]));
}

/** p03 - names and addresses of the kernel's functions */
static void p03(struct report *report, int argc, char **argv)
{
	FILE *file = fopen("/proc/kallsyms", "re");
	bool has_address = false;
	char line[512];

	(void)argc;
	(void)argv;
	if (!file) {
		report_attempt(report, "kallsyms", -1, 0);
		return;
	}
	while (fgets(line, sizeof(line), file))
		if (strtoull(line, NULL, 16) != 0)
			has_address = true;
	fclose(file);
	report_presence(report, "kallsyms", has_address);
}

/** p04 - directories of sysfs */
static void p04(struct report *report, int argc, char **argv)
{
	static const char *const paths[] = {
		"/sys/dev/block", "/sys/firmware",	  "/sys/fs/selinux",
		"/sys/kernel",	  "/sys/kernel/debug",	  "/sys/module",
		"/sys/class/net", "/sys/kernel/security", "/sys/block",
	};

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		report_code(report, paths[i], content_code(paths[i]));
}

static bool is_expected_device(const char *name)
{
	static const char *const names[] = {
		"null", "zero", "full",	 "random", "urandom", "tty",
		"ptmx", "pts",	"shm",	 "console", "fd",     "stdin",
		"stdout", "stderr", "mqueue",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static int count_unexpected(struct report *report)
{
	DIR *directory = opendir("/dev");
	struct dirent *entry;
	int count = 0;

	while (directory && (entry = readdir(directory)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0 ||
		    is_expected_device(entry->d_name))
			continue;
		if (count++ < 8)
			report_note(report, "/dev/%s", entry->d_name);
	}
	if (directory)
		closedir(directory);
	return count;
}

/** p05 - what is in /dev beside the devices that every program may have */
static void p05(struct report *report, int argc, char **argv)
{
	static const char *const disks[] = { "/dev/vda", "/dev/sda",
					     "/dev/nvme0n1", "/dev/mem",
					     "/dev/kmsg", "/dev/fuse" };
	struct stat found;

	(void)argc;
	(void)argv;
	report_presence(report, "others", count_unexpected(report) > 0);
	for (size_t i = 0; i < sizeof(disks) / sizeof(disks[0]); i++)
		report_presence(report, disks[i],
				stat(disks[i], &found) == 0);
}

/** p06 - cgroup files: see the tree, open its controls for writing */
static void p06(struct report *report, int argc, char **argv)
{
	static const char *const paths[] = {
		"/sys/fs/cgroup/cgroup.procs",
		"/sys/fs/cgroup/unified/cgroup.procs",
		"/sys/fs/cgroup/memory/release_agent",
		"/sys/fs/cgroup/memory/notify_on_release",
		"/sys/fs/cgroup/memory/cgroup.procs",
	};

	(void)argc;
	(void)argv;
	report_code(report, "tree", content_code("/sys/fs/cgroup"));
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		open_to_write(report, paths[i]);
}

/** p07 - the kernel's log */
static void p07(struct report *report, int argc, char **argv)
{
	const int size_buffer = 10, read_all = 3;
	struct stat found;
	char text[64];

	(void)argc;
	(void)argv;
	report_attempt(report, "stat-kmsg", stat("/dev/kmsg", &found), 0);
	report_attempt(report, "open-kmsg",
		       open("/dev/kmsg", O_RDONLY | O_CLOEXEC | O_NONBLOCK),
		       0);
	report_attempt(report, "syslog-size", klogctl(size_buffer, NULL, 0),
		       0);
	report_attempt(report, "syslog-read",
		       klogctl(read_all, text, sizeof(text)), 0);
}

/** p08 - argument: a host pid of the same user; read about it in proc */
static void p08(struct report *report, int argc, char **argv)
{
	static const char *const names[] = { "environ", "maps", "cmdline",
					     "status" };
	char path[64];
	long pid;

	if (long_argument(argc, argv, 0, &pid) != 0) {
		report_unprepared(report, "needs a pid");
		return;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%ld/%s", pid, names[i]);
		report_code(report, names[i], content_code(path));
	}
	snprintf(path, sizeof(path), "/proc/%ld/mem", pid);
	report_attempt(report, "mem", open(path, O_RDONLY | O_CLOEXEC), 0);
	snprintf(path, sizeof(path), "/proc/%ld/fd", pid);
	report_code(report, "fd", content_code(path));
}

const struct probe p_probes[] = {
	{ "P01", "writes to kernel settings", p01 },
	{ "P02", "facts about the machine in proc", p02 },
	{ "P03", "kernel addresses", p03 },
	{ "P04", "sysfs", p04 },
	{ "P05", "devices", p05 },
	{ "P06", "cgroup files", p06 },
	{ "P07", "kernel log", p07 },
	{ "P08", "processes of the host in proc", p08 },
	{ NULL, NULL, NULL },
};
