// SPDX-License-Identifier: Apache-2.0
/*
 * userns.c - the user namespace: id maps, the lock on nested ones, and the
 * small things that belong to new namespaces (clocks, hostname, loopback).
 *
 * The parent writes the maps while the child waits for one byte; the child
 * then takes the ids of the command, still with every capability of its own
 * namespace, and goes on.
 *
 * When the caller is root the outside id is a dedicated one. The child is
 * host uid 0 for the few lines until sbx_stage_maps() changes that; its
 * supplementary groups were emptied before the clone, since setgroups(2) is
 * denied for good in the new namespace.
 */
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

#include "core.h"
#include "sys.h"

#define PROC_SUPER_MAGIC 0x9fa0

/*
 * Open /proc/<pid>, sure that it is a procfs: a mount laid over it must not
 * turn a write of ours into a write somewhere else (CVE-2019-19921).
 */
static int proc_pid_open(pid_t pid)
{
	char path[40] = "/proc/";
	struct statfs fs;
	int fd;

	sbx_format_u64((uint64_t)pid, 10, path + strlen(path));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC) {
		close(fd);
		return -ENOTSUP;
	}
	return fd;
}

/* Every extent of one kind, in the one write that the kernel takes. */
static int map_write(int proc, const struct sbx_id_map *maps, size_t count,
		     enum sbx_id_kind kind)
{
	char text[SBX_EXTENTS_MAX * SBX_MAP_LINE];
	size_t at = 0;
	size_t i;

	for (i = 0; i < count; i++)
		if (maps[i].kind == (uint32_t)kind)
			at += sbx_id_map_line(&maps[i], text + at);
	return sbx_write_file(proc, kind == SBX_ID_UID ? "uid_map" : "gid_map",
			      text);
}

/**
 * sbx_userns_maps_write - write setgroups, gid_map and uid_map of @pid
 * Context: parent; the child waits on its control pipe.
 * Return: 0 or -errno; -ENOTSUP where /proc is not a procfs.
 */
int sbx_userns_maps_write(const struct sbx_context *ctx, pid_t pid)
{
	size_t count;
	const struct sbx_id_map *maps =
		sbx_records(&ctx->plan, SBX_SECTION_IDMAPS, &count);
	int proc = proc_pid_open(pid);
	int err;

	if (proc < 0)
		return proc;
	err = sbx_write_file(proc, "setgroups", "deny");
	if (!err)
		err = map_write(proc, maps, count, SBX_ID_GID);
	if (!err)
		err = map_write(proc, maps, count, SBX_ID_UID);
	close(proc);
	return err;
}

/**
 * sbx_userns_idmap_open - a user namespace for mount_setattr(MOUNT_ATTR_IDMAP)
 * @uid: owner on disk
 * @outside_uid: id that the owner becomes, and back on writes
 *
 * Context: privileged parent. A child is cloned only to own the namespace,
 * and is gone when this returns; exit signal 0 keeps it out of the caller's
 * own waits.
 * Return: a descriptor or -errno.
 */
int sbx_userns_idmap_open(uid_t uid, gid_t gid, uid_t outside_uid,
			  gid_t outside_gid)
{
	const struct sbx_id_map maps[] = {
		{ SBX_ID_UID, uid, outside_uid, 1 },
		{ SBX_ID_GID, gid, outside_gid, 1 },
	};
	struct sbx_clone_args args = { .flags = SBX_CLONE_NEWUSER };
	pid_t parent = getpid();
	pid_t pid = sys_clone3(&args);
	int proc, err, fd = -1;

	if (pid < 0)
		return pid;
	if (pid == 0) {
		/* a parent that is killed now leaves nobody who would end it;
		 * the thread that cloned is the one that waits below */
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		while (getppid() == parent)
			pause();
		_exit(0);
	}
	proc = proc_pid_open(pid);
	err = proc < 0 ? proc : 0;
	if (!err)
		err = map_write(proc, maps, 2, SBX_ID_GID);
	if (!err)
		err = map_write(proc, maps, 2, SBX_ID_UID);
	if (!err) {
		fd = openat(proc, "ns/user", O_RDONLY | O_CLOEXEC);
		err = fd < 0 ? -errno : 0;
	}
	if (proc >= 0)
		close(proc);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	return err ? err : fd;
}

/*
 * The caller's command line and environment lie in this copy of its memory;
 * /proc/1/cmdline would show them inside. Nothing after this point reads
 * them. Best effort by design: without a readable stat file there is also
 * no /proc that could show anything.
 */
static void command_line_blank(void)
{
	char stat[1024];
	char *at;
	unsigned long bounds[4];
	int field, i;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);

	if (fd >= 0)
		close(fd);
	if (size <= 0)
		return;
	stat[size] = '\0';
	at = strrchr(stat, ')');	/* end of field 2, which may hold spaces */
	for (field = 2; at && field < 48; field++)
		at = strchr(at + 1, ' ');
	for (i = 0; at && i < 4; i++) {	/* 48-51: arg and env, start and end */
		unsigned long value = 0;

		for (at++; *at >= '0' && *at <= '9'; at++)
			value = value * 10 + (unsigned long)(*at - '0');
		bounds[i] = value;
	}
	if (!at)
		return;
	for (i = 0; i < 4; i += 2)
		if (bounds[i] && bounds[i + 1] > bounds[i])
			/* as on the kernel's word: proc_pid_stat(5) */
			memset((void *)bounds[i], 0, bounds[i + 1] - bounds[i]);
	if (bounds[0] && bounds[1] - bounds[0] > sizeof("sandbox-init"))
		memcpy((void *)bounds[0], "sandbox-init", sizeof("sandbox-init"));
}

/**
 * sbx_netns_late - CLONE_NEWNET where the child makes that namespace itself
 *
 * It takes the kernel longer to make than all others together. Whoever owns a
 * user namespace can make it from inside; the parent uses the time.
 */
uint64_t sbx_netns_late(const struct sbx_context *ctx)
{
	return ctx->core->namespaces & SBX_CLONE_NEWUSER ?
		ctx->core->namespaces & SBX_CLONE_NEWNET : 0;
}

/**
 * sbx_netns_enter - make and enter it, before there is anything to wait for
 * Context: child.
 * Return: 0 or -errno.
 */
int sbx_netns_enter(const struct sbx_context *ctx)
{
	uint64_t late = sbx_netns_late(ctx);

	return late && unshare((int)late) < 0 ? -errno : 0;
}

/**
 * sbx_stage_maps - wait for the maps, then take the ids of the command
 *
 * The cgroup namespace is made here, once the child is in its group.
 * Context: child.
 * Return: 0; -EPIPE if the supervisor is gone; -errno of unshare(2),
 * setresuid(2).
 */
int sbx_stage_maps(struct sbx_context *ctx)
{
	char byte;
	ssize_t got;
	int err;

	do {
		got = read(ctx->control_fd, &byte, 1);
	} while (got < 0 && errno == EINTR);
	if (got != 1 || byte != 'M')
		return -EPIPE;
	command_line_blank();
	/* not in the clone: the root of the namespace is the group that its
	 * maker is in, and the parent has moved this process only now */
	if (ctx->core->namespaces & SBX_CLONE_NEWCGROUP &&
	    unshare((int)SBX_CLONE_NEWCGROUP) < 0) {
		ctx->error.detail = SBX_MAPS_GROUP_NAMESPACE;
		return -errno;
	}
	if (!(ctx->core->namespaces & SBX_CLONE_NEWUSER))
		return 0;
	err = sys_setresgid(ctx->core->gid);
	return err < 0 ? err : sys_setresuid(ctx->core->uid);
}

/**
 * sbx_stage_userns_lock - no further user namespaces inside
 *
 * Context: child; through the inherited /proc, since a fresh one may have no
 * /proc/sys. The limit belongs to this namespace: nothing outside changes.
 * The capabilities needed to raise it again are dropped later.
 * Return: 0; -EROFS inside a container whose /proc/sys is read-only, unless
 * the plan takes that for a note: then the filter alone forbids them.
 */
int sbx_stage_userns_lock(struct sbx_context *ctx)
{
	struct statfs fs;
	int err;
	int proc;

	if (!(ctx->core->flags & SBX_PLAN_LOCK_USERNS))
		return 0;
	proc = open("/proc/sys/user", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return -errno;
	if (fstatfs(proc, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
		err = -ENOTSUP;
	else
		err = sbx_write_file(proc, "max_user_namespaces", "0");
	close(proc);
	if (err == -EROFS && ctx->core->flags & SBX_PLAN_LOCK_OPTIONAL) {
		ctx->degraded |= SBX_DEGRADED_USERNS_LOCK;
		return 0;
	}
	return err;
}

static int clock_offset(char *line, const char *name, clockid_t clock)
{
	struct timespec now;
	size_t at = strlen(name);

	if (clock_gettime(clock, &now) < 0)
		return -errno;
	memcpy(line, name, at);
	memcpy(line + at, " -", 2);
	at += 2;
	at += sbx_format_u64((uint64_t)now.tv_sec, 10, line + at);
	memcpy(line + at, " 0\n", 4);
	return 0;
}

/**
 * sbx_stage_timens - a time namespace whose clocks start at zero
 *
 * Context: child. Only children of the unsharing process enter it, which is
 * right for a pid 1; clone3(CLONE_NEWTIME) would enter it at once, and the
 * offsets can be written only while it is empty (time_namespaces(7)).
 */
int sbx_stage_timens(struct sbx_context *ctx)
{
	char line[80];
	int err;

	if (!(ctx->core->namespaces & SBX_CLONE_NEWTIME))
		return 0;
	if (unshare((int)SBX_CLONE_NEWTIME) < 0)
		return -errno;
	if (!(ctx->core->flags & SBX_PLAN_ZERO_CLOCKS))
		return 0;
	err = clock_offset(line, "monotonic", CLOCK_MONOTONIC);
	if (!err)
		err = sbx_write_file(AT_FDCWD, "/proc/self/timens_offsets",
				     line);
	if (!err)
		err = clock_offset(line, "boottime", CLOCK_BOOTTIME);
	if (!err)
		err = sbx_write_file(AT_FDCWD, "/proc/self/timens_offsets",
				     line);
	return err;
}

/**
 * sbx_stage_hostname - sethostname(2) in the own UTS namespace
 * Context: child.
 */
int sbx_stage_hostname(struct sbx_context *ctx)
{
	const char *name = sbx_string(&ctx->plan, ctx->core->hostname);

	if (!ctx->core->hostname)
		return 0;
	return sethostname(name, strlen(name)) < 0 ? -errno : 0;
}

/**
 * sbx_stage_loopback - set lo up in the own network namespace
 * Context: child.
 */
int sbx_stage_loopback(struct sbx_context *ctx)
{
	struct ifreq request = { .ifr_name = "lo" };
	int err = 0;
	int fd;

	if (!(ctx->core->flags & SBX_PLAN_LOOPBACK))
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0) {
		err = -errno;
	} else {
		request.ifr_flags |= IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
			err = -errno;
	}
	close(fd);
	return err;
}
