// SPDX-License-Identifier: Apache-2.0
/*
 * n_namespaces.c - group N: identity, namespaces, the mount view.
 *
 * Most of these read a property from inside and compare it with a fact about
 * the host that the test hands over as an argument: without the sandbox the
 * two are equal, which is the control.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS_MAX 8192
#define GROUPS_MAX 256
#define FDS_MAX 4096

static bool maps_one_id(const char *path, bool *is_host_root)
{
	unsigned int inside, outside, count;
	char text[4096];
	ssize_t got = read_text(path, text, sizeof(text));

	*is_host_root = true;
	if (got <= 0 ||
	    sscanf(text, "%u %u %u", &inside, &outside, &count) != 3)
		return false;
	*is_host_root = outside == 0;
	return count == 1 && strchr(text, '\n') == text + got - 1;
}

static bool has_other_groups(void)
{
	gid_t groups[GROUPS_MAX];
	int count = getgroups(GROUPS_MAX, groups);

	for (int i = 0; i < count; i++)
		if (groups[i] != getgid())
			return true;
	return count < 0;
}

/** n01 - one id is mapped, it is not the host's root, no group is extra */
static void n01(struct report *report, int argc, char **argv)
{
	bool is_one, is_host_root;
	char text[32] = "";

	(void)argc;
	(void)argv;
	is_one = maps_one_id("/proc/self/uid_map", &is_host_root);
	report_presence(report, "more-uids", !is_one);
	report_presence(report, "host-root-uid", is_host_root);
	is_one = maps_one_id("/proc/self/gid_map", &is_host_root);
	report_presence(report, "more-gids", !is_one);
	report_presence(report, "host-root-gid", is_host_root);
	read_text("/proc/self/setgroups", text, sizeof(text));
	report_presence(report, "setgroups-allowed",
			strncmp(text, "deny", 4) != 0);
	report_presence(report, "other-groups", has_other_groups());
	report_attempt(report, "setgroups", setgroups(0, NULL), 0);
	report_note(report, "uid %u gid %u", getuid(), getgid());
}

static void read_caps(struct report *report, const char *who, const char *path)
{
	static const char *const sets[] = { "CapInh", "CapPrm", "CapEff",
					    "CapBnd", "CapAmb" };
	char status[STATUS_MAX], value[64], name[PROBE_NAME_MAX];

	if (read_text(path, status, sizeof(status)) < 0) {
		report_unprepared(report, "%s cannot be read", path);
		return;
	}
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		if (!status_field(status, sets[i], value, sizeof(value)))
			continue;
		snprintf(name, sizeof(name), "%s-%s", who, sets[i]);
		report_presence(report, name, strtoull(value, NULL, 16) != 0);
	}
}

/** n02 - no capability set of the command or of pid 1 holds anything */
static void n02(struct report *report, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	read_caps(report, "self", "/proc/self/status");
	read_caps(report, "init", "/proc/1/status");
}

/** n03 - arguments: the host's namespaces as readlink(2) names them */
static void n03(struct report *report, int argc, char **argv)
{
	char path[64], link[64], name[32];
	ssize_t got;

	for (int i = 0; i < argc; i++) {
		snprintf(name, sizeof(name), "%.*s",
			 (int)strcspn(argv[i], ":"), argv[i]);
		snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
		got = readlink(path, link, sizeof(link) - 1);
		if (got < 0) {
			report_unprepared(report, "%s cannot be read", path);
			return;
		}
		link[got] = '\0';
		report_presence(report, name, strcmp(link, argv[i]) == 0);
	}
}

static bool has_start_time(long pid, const char *ticks)
{
	char path[64], text[2048];
	const char *field;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (read_text(path, text, sizeof(text)) < 0)
		return false;
	/* fields from 3 on follow the last parenthesis; 22 is starttime */
	field = strrchr(text, ')');
	for (int i = 2; field && i < 22; i++) {
		field = strchr(field + 1, ' ');
	}
	return field && strncmp(field + 1, ticks, strlen(ticks)) == 0 &&
	       field[1 + strlen(ticks)] == ' ';
}

/** n04 - arguments: a host pid, its start time, the start time of pid 1 */
static void n04(struct report *report, int argc, char **argv)
{
	long pid;

	if (argc != 3 || long_argument(argc, argv, 0, &pid) != 0) {
		report_unprepared(report, "needs pid and start times");
		return;
	}
	report_presence(report, "host-pid", has_start_time(pid, argv[1]));
	report_presence(report, "host-init", has_start_time(1, argv[2]));
	report_attempt(report, "kill", kill((pid_t)pid, 0), 0);
}

/** n05 - arguments: major:minor of the host's /, and the part of it mounted */
static void n05(struct report *report, int argc, char **argv)
{
	bool has_root = false, has_shared = false, has_master = false;
	const char *host = argument_or(argc, argv, 0, "");
	const char *part = argument_or(argc, argv, 1, "/");
	char line[4096], device[32], root[1024], point[1024];
	FILE *file = *host ? fopen("/proc/self/mountinfo", "re") : NULL;

	if (!file) {
		report_unprepared(report, "needs mountinfo and a device");
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*d %*d %31s %1023s %1023s", device, root,
			   point) != 3)
			continue;
		if (strcmp(device, host) == 0 && strcmp(root, part) == 0)
			has_root = true;
		has_shared |= strstr(line, " shared:") != NULL;
		has_master |= strstr(line, " master:") != NULL;
		report_note(report, "%s", point);
	}
	fclose(file);
	report_presence(report, "host-root", has_root);
	report_presence(report, "shared", has_shared);
	report_presence(report, "master", has_master);
}

/** n06 - argument: a directory; drop the flags of its mount and of / */
static void n06(struct report *report, int argc, char **argv)
{
	const char *directory = argument_or(argc, argv, 0, "/");
	const unsigned int all = 0x4 | 0x8 | 0x2 | 0x1; /* ro suid dev exec */
	uint64_t attributes[4] = { 0, all, 0, 0 };

	report_attempt(report, "root",
		       mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL), 0);
	/* EINVAL: not a mount point, which only who may mount gets to hear */
	report_attempt(report, "bind",
		       mount(NULL, directory, NULL, MS_REMOUNT | MS_BIND,
			     NULL),
		       EINVAL);
	report_attempt(report, "setattr",
		       syscall(PROBE_NR_MOUNT_SETATTR, AT_FDCWD, "/", 0,
			       attributes, sizeof(attributes)),
		       0);
}

static bool is_node(const struct stat *found, char **argv)
{
	return found->st_dev == (dev_t)strtoull(argv[0], NULL, 10) &&
	       found->st_ino == (ino_t)strtoull(argv[1], NULL, 10);
}

static bool is_root_of_a_process(char **argv)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	struct stat found;
	bool is_found = false;
	char path[300];

	while (proc && (entry = readdir(proc)) != NULL) {
		if (strspn(entry->d_name, "0123456789") == 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/root", entry->d_name);
		if (stat(path, &found) == 0 && is_node(&found, argv))
			is_found = true;
	}
	if (proc)
		closedir(proc);
	return is_found;
}

/** n07 - arguments: st_dev and st_ino of the host's root directory */
static void n07(struct report *report, int argc, char **argv)
{
	bool is_behind_fd = false;
	struct stat found;

	if (argc != 2) {
		report_unprepared(report, "needs st_dev and st_ino");
		return;
	}
	for (int fd = 0; fd < FDS_MAX; fd++)
		if (fstatat(fd, ".", &found, 0) == 0 && is_node(&found, argv))
			is_behind_fd = true;
	report_presence(report, "descriptor", is_behind_fd);
	report_presence(report, "process-root", is_root_of_a_process(argv));
	for (int i = 0; i < 64; i++)
		if (chdir("..") != 0)
			break;
	report_presence(report, "dot-dot",
			stat(".", &found) == 0 && is_node(&found, argv));
	report_presence(report, "root",
			stat("/", &found) == 0 && is_node(&found, argv));
}

/** n13 - descriptors beyond 0-2, and a working directory outside the root */
static void n13(struct report *report, int argc, char **argv)
{
	char directory[4096] = "";
	int count = 0;

	(void)argc;
	(void)argv;
	for (int fd = 3; fd < FDS_MAX; fd++) {
		if (fcntl(fd, F_GETFD) >= 0) {
			report_note(report, "descriptor %d", fd);
			count++;
		}
	}
	report_presence(report, "descriptors", count > 0);
	/* glibc turns "(unreachable)" into ENOENT, the call itself does not */
	report_presence(report, "unreachable",
			syscall(SYS_getcwd, directory, sizeof(directory)) < 0 ||
				directory[0] != '/');
	report_works(report, "chdir", chdir(".."));
}

/** n14 - the program that runs as pid 1: read it, write it, see its memory */
static void n14(struct report *report, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	report_attempt(report, "read", open("/proc/1/exe", O_RDONLY), 0);
	/* ETXTBSY: the file is open to be written, only busy just now */
	report_attempt(report, "write", open("/proc/1/exe", O_WRONLY),
		       ETXTBSY);
	report_attempt(report, "memory", open("/proc/1/mem", O_RDWR), 0);
	report_attempt(report, "map", open("/proc/1/maps", O_RDONLY), 0);
}

/** n16 - arguments: name=path of copies of this program with privileges */
static void n16(struct report *report, int argc, char **argv)
{
	char name[32];
	int status;
	pid_t pid;

	for (int i = 0; i < argc; i++) {
		char *path = strchr(argv[i], '=');

		if (!path)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(path - argv[i]),
			 argv[i]);
		path++;
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			execl(path, path, "--gained", NULL);
			_exit(PROBE_EXIT_UNPREPARED);
		}
		if (pid < 0 || waitpid(pid, &status, 0) < 0 ||
		    !WIFEXITED(status) || WEXITSTATUS(status) > 1) {
			report_unprepared(report, "%s cannot be run", path);
			return;
		}
		report_presence(report, name, WEXITSTATUS(status) == 1);
	}
}

/** n17 - argument: a device node on a disk; make one, open that one */
static void n17(struct report *report, int argc, char **argv)
{
	static const char name[] = "sbx-probe-node";

	report_attempt(report, "mknod-null",
		       mknod(name, S_IFCHR | 0600, makedev(1, 3)), 0);
	unlink(name);
	report_attempt(report, "mknod-disk",
		       mknod(name, S_IFBLK | 0600, makedev(8, 0)), 0);
	unlink(name);
	if (argc > 0)
		report_attempt(report, "open-node",
			       open(argv[0], O_RDONLY | O_CLOEXEC), 0);
}

/** n18 - arguments: key of a segment, name of a queue that the host has */
static void n18(struct report *report, int argc, char **argv)
{
	const char *host = argument_or(argc, argv, 0, "");
	long key;

	if (argc < 3 || long_argument(argc, argv, 1, &key) != 0) {
		report_unprepared(report, "needs host name, key and queue");
		return;
	}
	/* the name it has already: harmless even where it goes through */
	report_attempt(report, "sethostname", sethostname(host, strlen(host)),
		       0);
	report_attempt(report, "shmget", shmget((key_t)key, 0, 0), 0);
	report_attempt(report, "mq_open",
		       syscall(SYS_mq_open, argv[2], O_RDONLY, 0, NULL), 0);
}

/** n19 - an overlay of directories that the sandbox shows */
static void n19(struct report *report, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	report_attempt(report, "mount",
		       mount("overlay", "/tmp", "overlay", 0,
			     "lowerdir=/usr/bin:/usr/lib"),
		       0);
	report_attempt(report, "fsopen",
		       syscall(PROBE_NR_FSOPEN, "overlay", 0), 0);
}

const struct probe n_probes[] = {
	{ "N01", "identity", n01 },
	{ "N02", "capabilities", n02 },
	{ "N03", "namespaces", n03 },
	{ "N04", "processes of the host", n04 },
	{ "N05", "mounts", n05 },
	{ "N06", "mount flags", n06 },
	{ "N07", "the old root", n07 },
	{ "N13", "leaked descriptors", n13 },
	{ "N14", "the program of pid 1", n14 },
	{ "N16", "set-id bits and file capabilities", n16 },
	{ "N17", "device nodes", n17 },
	{ "N18", "host name, IPC", n18 },
	{ "N19", "overlay mounts", n19 },
	{ NULL, NULL, NULL },
};
