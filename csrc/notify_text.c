// SPDX-License-Identifier: Apache-2.0
/*
 * notify_text.c - what a refused call was about: a path, an address, a kind.
 *
 * Runs in the supervisor. The text is a hint for people: memory is read once,
 * while the caller waits, and another thread may have written it since. No
 * answer rests on it. What cannot be read is "". Bytes are kept as they are;
 * whoever prints them quotes them.
 */
#include <arpa/inet.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "notify.h"
#include "sys.h"

#define PAGE_BYTES 4096		/* the smallest: a read is split where one may end */

enum kind {
	KIND_PATH,		/* a string at the argument */
	KIND_ADDRESS,		/* struct sockaddr at it, its size in the next */
	KIND_FAMILY,		/* a number: AF_* */
	KIND_NUMBER,		/* the argument itself tells which operation */
};

struct subject {
	int nr;
	unsigned char argument;
	unsigned char kind;
};

/* What a call acts on. Both architectures: the numbers are the target's own. */
static const struct subject subjects[] = {
	{ SYS_openat, 1, KIND_PATH },
	{ SBX_NR_OPENAT2, 1, KIND_PATH },
	{ SYS_mkdirat, 1, KIND_PATH },
	{ SYS_mknodat, 1, KIND_PATH },
	{ SYS_unlinkat, 1, KIND_PATH },
	{ SYS_linkat, 1, KIND_PATH },
	{ SYS_symlinkat, 2, KIND_PATH },
	{ SYS_renameat2, 1, KIND_PATH },
	{ SYS_readlinkat, 1, KIND_PATH },
	{ SYS_faccessat, 1, KIND_PATH },
	{ 439 /* faccessat2 */, 1, KIND_PATH },
	{ SYS_fchmodat, 1, KIND_PATH },
	{ SYS_fchownat, 1, KIND_PATH },
	{ SYS_utimensat, 1, KIND_PATH },
	{ SYS_statx, 1, KIND_PATH },
	{ SYS_statfs, 0, KIND_PATH },
	{ SYS_truncate, 0, KIND_PATH },
	{ SYS_chdir, 0, KIND_PATH },
	{ SYS_chroot, 0, KIND_PATH },
	{ SYS_pivot_root, 0, KIND_PATH },
	{ SYS_mount, 1, KIND_PATH },
	{ SYS_umount2, 0, KIND_PATH },
	{ SYS_swapon, 0, KIND_PATH },
	{ SYS_swapoff, 0, KIND_PATH },
	{ SYS_acct, 0, KIND_PATH },
	{ SYS_quotactl, 1, KIND_PATH },
	{ SYS_setxattr, 0, KIND_PATH },
	{ SYS_lsetxattr, 0, KIND_PATH },
	{ SYS_getxattr, 0, KIND_PATH },
	{ SYS_lgetxattr, 0, KIND_PATH },
	{ SYS_listxattr, 0, KIND_PATH },
	{ SYS_llistxattr, 0, KIND_PATH },
	{ SYS_removexattr, 0, KIND_PATH },
	{ SYS_lremovexattr, 0, KIND_PATH },
	{ SYS_inotify_add_watch, 1, KIND_PATH },
	{ SYS_fanotify_mark, 4, KIND_PATH },
	{ SYS_name_to_handle_at, 1, KIND_PATH },
	{ SYS_memfd_create, 0, KIND_PATH },
	{ SYS_mq_open, 0, KIND_PATH },
	{ SYS_mq_unlink, 0, KIND_PATH },
	{ SYS_execveat, 1, KIND_PATH },
	{ SYS_add_key, 0, KIND_PATH },
	{ SYS_request_key, 0, KIND_PATH },
	{ SYS_delete_module, 0, KIND_PATH },
	{ SYS_sethostname, 0, KIND_PATH },
	{ SBX_NR_OPEN_TREE, 1, KIND_PATH },
	{ SBX_NR_MOVE_MOUNT, 1, KIND_PATH },
	{ SBX_NR_FSOPEN, 0, KIND_PATH },
#ifdef __x86_64__
	{ SYS_open, 0, KIND_PATH },
	{ SYS_creat, 0, KIND_PATH },
	{ SYS_mkdir, 0, KIND_PATH },
	{ SYS_rmdir, 0, KIND_PATH },
	{ SYS_mknod, 0, KIND_PATH },
	{ SYS_unlink, 0, KIND_PATH },
	{ SYS_link, 0, KIND_PATH },
	{ SYS_symlink, 1, KIND_PATH },
	{ SYS_rename, 0, KIND_PATH },
	{ SYS_renameat, 1, KIND_PATH },
	{ SYS_readlink, 0, KIND_PATH },
	{ SYS_access, 0, KIND_PATH },
	{ SYS_chmod, 0, KIND_PATH },
	{ SYS_chown, 0, KIND_PATH },
	{ SYS_lchown, 0, KIND_PATH },
	{ SYS_utime, 0, KIND_PATH },
	{ SYS_utimes, 0, KIND_PATH },
	{ SYS_uselib, 0, KIND_PATH },
#endif
	{ SYS_bind, 1, KIND_ADDRESS },
	{ SYS_connect, 1, KIND_ADDRESS },
	{ SYS_sendto, 4, KIND_ADDRESS },
	{ SYS_socket, 0, KIND_FAMILY },
	{ SYS_socketpair, 0, KIND_FAMILY },
	{ SYS_ioctl, 1, KIND_NUMBER },
	{ SYS_prctl, 0, KIND_NUMBER },
	{ SYS_personality, 0, KIND_NUMBER },
	{ SYS_unshare, 0, KIND_NUMBER },
	{ SYS_setns, 1, KIND_NUMBER },
	{ SYS_bpf, 0, KIND_NUMBER },
	{ SYS_ptrace, 0, KIND_NUMBER },
	{ SYS_keyctl, 0, KIND_NUMBER },
};

static const struct {
	int family;
	const char *name;
} families[] = {
	{ AF_UNIX, "unix" },
	{ AF_INET, "inet" },
	{ AF_INET6, "inet6" },
	{ AF_NETLINK, "netlink" },
	{ AF_PACKET, "packet" },
	{ AF_BLUETOOTH, "bluetooth" },
	{ AF_ALG, "alg" },
	{ AF_VSOCK, "vsock" },
	{ AF_CAN, "can" },
	{ AF_TIPC, "tipc" },
};

/* Read up to @size bytes, in two parts where a page may end. */
static size_t memory_read(pid_t pid, uint64_t at, void *to, size_t size)
{
	size_t first = PAGE_BYTES - at % PAGE_BYTES;
	struct iovec local = { .iov_base = to, .iov_len = size };
	struct iovec remote[2];
	ssize_t got;

	if (!at || at > UINT64_MAX - size)
		return 0;
	if (first > size)
		first = size;
	remote[0].iov_base = (void *)(uintptr_t)at;
	remote[0].iov_len = first;
	remote[1].iov_base = (void *)(uintptr_t)(at + first);
	remote[1].iov_len = size - first;
	got = syscall(SYS_process_vm_readv, (long)pid, &local, 1UL, remote,
		      size > first ? 2UL : 1UL, 0UL);
	return got < 0 ? 0 : (size_t)got;
}

static void path_text(pid_t pid, uint64_t at, char text[SBX_DENIAL_TEXT])
{
	size_t got = memory_read(pid, at, text, SBX_DENIAL_TEXT - 1);

	text[got] = '\0';	/* what was read may end earlier */
}

static void family_text(int family, char text[SBX_DENIAL_TEXT])
{
	size_t i;

	for (i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		if (families[i].family != family)
			continue;
		snprintf(text, SBX_DENIAL_TEXT, "%s", families[i].name);
		return;
	}
	snprintf(text, SBX_DENIAL_TEXT, "family %d", family);
}

static void unix_text(const struct sockaddr_un *address, size_t size,
		      char text[SBX_DENIAL_TEXT])
{
	size_t head = offsetof(struct sockaddr_un, sun_path);
	size_t length = size > head ? size - head : 0;

	if (length > sizeof(address->sun_path))
		length = sizeof(address->sun_path);
	memcpy(text, address->sun_path, length);
	text[length] = '\0';
	if (length && !text[0])
		text[0] = '@';	/* an abstract name, as ss(8) shows it */
}

static void address_text(pid_t pid, uint64_t at, uint64_t size,
			 char text[SBX_DENIAL_TEXT])
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un unix_name;
	} address;
	char host[INET6_ADDRSTRLEN] = "";
	size_t got;

	memset(&address, 0, sizeof(address));
	got = memory_read(pid, at, &address,
			  size < sizeof(address) ? (size_t)size
						 : sizeof(address));
	if (got < sizeof(address.any.sa_family))
		return;
	switch (address.any.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof(host));
		snprintf(text, SBX_DENIAL_TEXT, "%s:%u", host,
			 ntohs(address.v4.sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof(host));
		snprintf(text, SBX_DENIAL_TEXT, "[%s]:%u", host,
			 ntohs(address.v6.sin6_port));
		break;
	case AF_UNIX:
		unix_text(&address.unix_name, got, text);
		break;
	default:
		family_text(address.any.sa_family, text);
		break;
	}
}

/**
 * sbx_denial_text - what the call was about, "" where that is not known
 * @may_read: whether the caller's memory may be read
 * Context: supervisor; the caller waits for its answer.
 */
void sbx_denial_text(const struct seccomp_data *data, pid_t pid, int may_read,
		     char text[SBX_DENIAL_TEXT])
{
	const struct subject *found = NULL;
	size_t i;

	text[0] = '\0';
	if (data->arch != SBX_AUDIT_ARCH)
		return;
	for (i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
		if (subjects[i].nr == data->nr)
			found = &subjects[i];
	if (!found)
		return;
	switch (found->kind) {
	case KIND_FAMILY:
		family_text((int)data->args[found->argument], text);
		break;
	case KIND_NUMBER:
		snprintf(text, SBX_DENIAL_TEXT, "%#x",
			 (unsigned int)data->args[found->argument]);
		break;
	case KIND_PATH:
		if (may_read && pid > 0)
			path_text(pid, data->args[found->argument], text);
		break;
	default:
		if (may_read && pid > 0)
			address_text(pid, data->args[found->argument],
				     data->args[found->argument + 1], text);
		break;
	}
}

/**
 * sbx_denial_comm - the name of the calling thread, "" where it is gone
 * Context: supervisor.
 */
void sbx_denial_comm(pid_t pid, char comm[16])
{
	char path[40];
	ssize_t got = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		got = read(fd, comm, 15);
		close(fd);
	}
	comm[got > 0 ? got : 0] = '\0';
	if (got > 0 && comm[got - 1] == '\n')
		comm[got - 1] = '\0';
}
