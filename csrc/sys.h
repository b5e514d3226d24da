/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sys.h - raw system calls.
 *
 * Older C libraries lack these, and some wrappers that exist must not be used
 * here: glibc's setresuid(2) and fork(2) act on every thread they believe in,
 * which in a child of a threaded interpreter are threads that do not exist.
 * Numbers at and above 424 are the same on every architecture.
 * Wrappers keep the kernel's names with a sys_ prefix; they return -errno.
 */
#ifndef SBX_SYS_H
#define SBX_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define SBX_NR_PIDFD_SEND_SIGNAL 424
#define SBX_NR_OPEN_TREE 428
#define SBX_NR_MOVE_MOUNT 429
#define SBX_NR_FSOPEN 430
#define SBX_NR_FSCONFIG 431
#define SBX_NR_FSMOUNT 432
#define SBX_NR_CLONE3 435
#define SBX_NR_CLOSE_RANGE 436
#define SBX_NR_OPENAT2 437
#define SBX_NR_MOUNT_SETATTR 442
#define SBX_NR_LANDLOCK_CREATE_RULESET 444
#define SBX_NR_LANDLOCK_ADD_RULE 445
#define SBX_NR_LANDLOCK_RESTRICT_SELF 446

/* clone(2), unshare(2) */
#define SBX_CLONE_NEWTIME 0x00000080ULL
#define SBX_CLONE_PIDFD 0x00001000ULL
#define SBX_CLONE_NEWNS 0x00020000ULL
#define SBX_CLONE_NEWCGROUP 0x02000000ULL
#define SBX_CLONE_NEWUTS 0x04000000ULL
#define SBX_CLONE_NEWIPC 0x08000000ULL
#define SBX_CLONE_NEWUSER 0x10000000ULL
#define SBX_CLONE_NEWPID 0x20000000ULL
#define SBX_CLONE_NEWNET 0x40000000ULL

/* mount(2), mount_setattr(2), open_tree(2), move_mount(2), fsconfig(2) */
#define SBX_MS_PRIVATE 0x40000UL
#define SBX_MS_REC 0x4000UL
#define SBX_MNT_DETACH 2
#define SBX_MOUNT_ATTR_RDONLY 0x1ULL
#define SBX_MOUNT_ATTR_NOSUID 0x2ULL
#define SBX_MOUNT_ATTR_NODEV 0x4ULL
#define SBX_MOUNT_ATTR_NOEXEC 0x8ULL
#define SBX_MOUNT_ATTR_NOATIME 0x10ULL
#define SBX_MOUNT_ATTR_IDMAP 0x100000ULL
#define SBX_MOUNT_ATTR_NOSYMFOLLOW 0x200000ULL
#define SBX_OPEN_TREE_CLONE 0x1U
#define SBX_MOVE_MOUNT_F_EMPTY_PATH 0x4U
#define SBX_MOVE_MOUNT_T_EMPTY_PATH 0x40U
#define SBX_FSOPEN_CLOEXEC 0x1U
#define SBX_FSMOUNT_CLOEXEC 0x1U
#define SBX_FSCONFIG_SET_FLAG 0U
#define SBX_FSCONFIG_SET_STRING 1U
#define SBX_FSCONFIG_CMD_CREATE 6U
#define SBX_AT_RECURSIVE 0x8000

/* openat2(2) */
#define SBX_RESOLVE_NO_MAGICLINKS 0x02ULL
#define SBX_RESOLVE_NO_SYMLINKS 0x04ULL
#define SBX_RESOLVE_IN_ROOT 0x10ULL

struct sbx_open_how {
	uint64_t flags;
	uint64_t mode;
	uint64_t resolve;
};

struct sbx_mount_attr {
	uint64_t attr_set;
	uint64_t attr_clr;
	uint64_t propagation;
	uint64_t userns_fd;
};

struct sbx_clone_args {
	uint64_t flags;
	uint64_t pidfd;
	uint64_t child_tid;
	uint64_t parent_tid;
	uint64_t exit_signal;
	uint64_t stack;
	uint64_t stack_size;
	uint64_t tls;
};

static inline long sys_result(long value)
{
	return value < 0 ? -errno : value;
}

static inline int sys_openat2(int dirfd, const char *path, uint64_t flags,
			      uint64_t resolve)
{
	struct sbx_open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = resolve,
	};

	return (int)sys_result(syscall(SBX_NR_OPENAT2, dirfd, path, &how,
				       sizeof(how)));
}

static inline int sys_open_tree(int dirfd, const char *path, unsigned int flags)
{
	return (int)sys_result(syscall(SBX_NR_OPEN_TREE, dirfd, path,
				       flags | O_CLOEXEC));
}

static inline int sys_move_mount(int from, int to, const char *to_path,
				 unsigned int flags)
{
	return (int)sys_result(syscall(SBX_NR_MOVE_MOUNT, from, "", to, to_path,
				       flags | SBX_MOVE_MOUNT_F_EMPTY_PATH));
}

static inline int sys_fsopen(const char *type)
{
	return (int)sys_result(syscall(SBX_NR_FSOPEN, type,
				       SBX_FSOPEN_CLOEXEC));
}

static inline int sys_fsconfig(int fd, unsigned int command, const char *key,
			       const char *value)
{
	return (int)sys_result(syscall(SBX_NR_FSCONFIG, fd, command, key,
				       value, 0));
}

static inline int sys_fsmount(int fd, unsigned int attrs)
{
	return (int)sys_result(syscall(SBX_NR_FSMOUNT, fd, SBX_FSMOUNT_CLOEXEC,
				       attrs));
}

static inline int sys_mount_setattr(int fd, unsigned int flags,
				    const struct sbx_mount_attr *attr)
{
	return (int)sys_result(syscall(SBX_NR_MOUNT_SETATTR, fd, "",
				       flags | AT_EMPTY_PATH, attr,
				       sizeof(*attr)));
}

static inline int sys_clone3(struct sbx_clone_args *args)
{
	return (int)sys_result(syscall(SBX_NR_CLONE3, args, sizeof(*args)));
}

/* clone(2) takes the same flags, but for what is beyond 32 bits and TIME. The
 * first three arguments have the same order on x86-64 and aarch64. */
static inline int sys_clone_pidfd(uint64_t flags, int *pidfd)
{
	return (int)sys_result(syscall(SYS_clone, (unsigned long)flags, 0UL,
				       pidfd, 0UL, 0UL));
}

static inline int sys_close_range(unsigned int first, unsigned int last)
{
	return (int)sys_result(syscall(SBX_NR_CLOSE_RANGE, first, last, 0));
}

static inline int sys_umount2(const char *path, int flags)
{
	return (int)sys_result(syscall(SYS_umount2, path, flags));
}

/* fork without the C library's handlers; see the head of this file */
static inline int sys_fork(void)
{
	return (int)sys_result(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static inline int sys_setgroups(size_t count, const gid_t *groups)
{
	return (int)sys_result(syscall(SYS_setgroups, count, groups));
}

static inline int sys_setresgid(gid_t gid)
{
	return (int)sys_result(syscall(SYS_setresgid, gid, gid, gid));
}

static inline int sys_setresuid(uid_t uid)
{
	return (int)sys_result(syscall(SYS_setresuid, uid, uid, uid));
}

#endif
