// SPDX-License-Identifier: Apache-2.0
/*
 * s_syscalls.c - group S: calls that the sandbox must not let through.
 *
 * Runs in the process of the probe, which ends afterwards: a call that changes
 * the process itself needs a child only where a later attempt would notice.
 * "reached" errnos (EBADF for descriptor -1, ENOENT for an empty path) come
 * from behind the permission checks, so they count as let through.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define NO_FD (-1)
#define CLOSED_FD 0x100000

/** s09 - io_uring, whose operations no filter sees */
static void s09(struct report *report, int argc, char **argv)
{
	unsigned char params[256] = { 0 };
	long ring = syscall(PROBE_NR_IO_URING_SETUP, 1, params);

	(void)argc;
	(void)argv;
	report_attempt(report, "setup", ring, 0);
	report_attempt(report, "enter",
		       syscall(PROBE_NR_IO_URING_ENTER, NO_FD, 0, 0, 0, NULL,
			       0),
		       EBADF);
	/* -1 has a meaning of its own for this call since Linux 6.15 */
	report_attempt(report, "register",
		       syscall(PROBE_NR_IO_URING_REGISTER, CLOSED_FD, 1, NULL,
			       0),
		       EBADF);
}

/** s10 - terminal injection, with bits above the 32 that the kernel reads */
static void s10(struct report *report, int argc, char **argv)
{
	uint64_t high = (uint64_t)1 << 32;
	char byte = ' ';

	(void)argc;
	(void)argv;
	report_attempt(report, "plain",
		       syscall(SYS_ioctl, NO_FD, (uint64_t)TIOCSTI, &byte),
		       EBADF);
	report_attempt(report, "high-half",
		       syscall(SYS_ioctl, NO_FD, high | TIOCSTI, &byte),
		       EBADF);
}

/** s12 - TIOCLINUX pastes into a console; also with bits above 32 */
static void s12(struct report *report, int argc, char **argv)
{
	uint64_t high = (uint64_t)1 << 32;
	char byte = 3;

	(void)argc;
	(void)argv;
	report_attempt(report, "plain",
		       syscall(SYS_ioctl, NO_FD, (uint64_t)TIOCLINUX, &byte),
		       EBADF);
	report_attempt(report, "high-half",
		       syscall(SYS_ioctl, NO_FD, high | TIOCLINUX, &byte),
		       EBADF);
}

/** s13 - keyrings are not namespaced by path, pid or mount */
static void s13(struct report *report, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	report_attempt(report, "keyctl",
		       syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID,
			       KEY_SPEC_THREAD_KEYRING, 1),
		       0);
	report_attempt(report, "add_key",
		       syscall(SYS_add_key, "user", "sbx-probe", "x", 1,
			       KEY_SPEC_THREAD_KEYRING),
		       0);
	report_attempt(report, "request_key",
		       syscall(SYS_request_key, "user", "sbx-probe-absent",
			       NULL, 0),
		       ENOKEY);
}

/** s14 - bpf: make a map, load the program "return 0" */
static void s14(struct report *report, int argc, char **argv)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr map, program;

	(void)argc;
	(void)argv;
	memset(&map, 0, sizeof(map));
	map.map_type = BPF_MAP_TYPE_ARRAY;
	map.key_size = 4;
	map.value_size = 4;
	map.max_entries = 1;
	report_attempt(report, "map_create",
		       syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map)), 0);
	memset(&program, 0, sizeof(program));
	program.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	program.insn_cnt = 2;
	program.insns = (uint64_t)(uintptr_t)code;
	program.license = (uint64_t)(uintptr_t)"Apache-2.0";
	report_attempt(report, "prog_load",
		       syscall(SYS_bpf, BPF_PROG_LOAD, &program,
			       sizeof(program)),
		       0);
}

/** s16 - userfaultfd, also in the form that needs no privilege */
static void s16(struct report *report, int argc, char **argv)
{
	const int user_mode_only = 1;

	(void)argc;
	(void)argv;
	report_attempt(report, "user-mode-only",
		       syscall(SYS_userfaultfd, user_mode_only | O_CLOEXEC), 0);
	report_attempt(report, "kernel-mode",
		       syscall(SYS_userfaultfd, O_CLOEXEC), 0);
}

/** s24 - personalities that weaken the address space */
static void s24(struct report *report, int argc, char **argv)
{
	const unsigned long query = 0xffffffff, per_bsd = 6;

	(void)argc;
	(void)argv;
	report_works(report, "query", personality(query));
	report_works(report, "linux", personality(0));
	report_attempt(report, "read-implies-exec",
		       personality(READ_IMPLIES_EXEC), 0);
	report_attempt(report, "no-randomize", personality(ADDR_NO_RANDOMIZE),
		       0);
	report_attempt(report, "bsd", personality(per_bsd), 0);
}

/** s25 - x86 descriptor tables and ports; turning no port on is harmless */
static void s25(struct report *report, int argc, char **argv)
{
	(void)argc;
	(void)argv;
#if defined(__x86_64__)
	char table[16];

	report_attempt(report, "modify_ldt",
		       syscall(SYS_modify_ldt, 0, table, sizeof(table)), 0);
	report_attempt(report, "iopl", syscall(SYS_iopl, 0), 0);
	report_attempt(report, "ioperm", syscall(SYS_ioperm, 0x80, 1, 0), 0);
#else
	report_unprepared(report, "these calls exist on x86 only");
#endif
}

/** s26 - administration: bad arguments only, so nothing can happen */
static void s26(struct report *report, int argc, char **argv)
{
	const unsigned int get_format = 0x80000400;

	(void)argc;
	(void)argv;
	report_attempt(report, "quotactl",
		       syscall(SYS_quotactl, get_format, "", 0, NULL), ENOENT);
	/* magic numbers of zero are refused after the capability check */
	report_attempt(report, "reboot", syscall(SYS_reboot, 0, 0, 0, NULL),
		       EINVAL);
	report_attempt(report, "swapoff", syscall(SYS_swapoff, ""), ENOENT);
	report_attempt(report, "delete_module",
		       syscall(SYS_delete_module, "sbx-probe-absent", 0),
		       ENOENT);
}

/** s28 - placement of memory: queries and defaults only */
static void s28(struct report *report, int argc, char **argv)
{
	long page = sysconf(_SC_PAGESIZE);
	void *memory = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long nodes = 1;

	(void)argc;
	(void)argv;
	report_attempt(report, "set_mempolicy",
		       syscall(SYS_set_mempolicy, 0, NULL, 0), 0);
	report_attempt(report, "mbind",
		       syscall(SYS_mbind, memory, page, 0, NULL, 0, 0), 0);
	report_attempt(report, "migrate_pages",
		       syscall(SYS_migrate_pages, 0, 2, &nodes, &nodes), 0);
	report_attempt(report, "move_pages",
		       syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0), 0);
}

/** s29 - clocks: a clock that does not exist, an adjustment of nothing */
static void s29(struct report *report, int argc, char **argv)
{
	const clockid_t no_clock = 99;
	struct timespec now = { 0 };
	struct timex nothing;

	(void)argc;
	(void)argv;
	memset(&nothing, 0, sizeof(nothing));
	report_attempt(report, "clock_settime",
		       syscall(SYS_clock_settime, no_clock, &now), EINVAL);
	report_attempt(report, "settimeofday",
		       syscall(SYS_settimeofday, NULL, NULL), 0);
	report_attempt(report, "clock_adjtime",
		       syscall(SYS_clock_adjtime, no_clock, &nothing), EINVAL);
}

/** s31 - fanotify and the list of security modules */
static void s31(struct report *report, int argc, char **argv)
{
	const unsigned int report_fid = 0x200;
	uint64_t ids[16];
	uint32_t size = sizeof(ids);

	(void)argc;
	(void)argv;
	report_attempt(report, "fanotify_init",
		       syscall(SYS_fanotify_init, report_fid, 0), 0);
	report_attempt(report, "lsm_list_modules",
		       syscall(PROBE_NR_LSM_LIST_MODULES, ids, &size, 0), 0);
}

/** s32 - listmount, which names mounts that proc does not show */
static void s32(struct report *report, int argc, char **argv)
{
	struct {
		uint32_t size;
		uint32_t spare;
		uint64_t mount_id;
		uint64_t param;
	} request = { .size = 24, .mount_id = UINT64_MAX };
	uint64_t found[8];

	(void)argc;
	(void)argv;
	report_attempt(report, "listmount",
		       syscall(PROBE_NR_LISTMOUNT, &request, found, 8, 0), 0);
}

/** s33 - execute a file that no path names; an empty one is ENOEXEC */
static void s33(struct report *report, int argc, char **argv)
{
	char *const nothing[] = { NULL };
	int named = open(argument_or(argc, argv, 0, ""), O_PATH | O_CLOEXEC);
	long fd = syscall(SYS_memfd_create, "sbx-probe", 1 /* MFD_CLOEXEC */);

	if (named < 0) {
		report_unprepared(report, "needs an empty executable file");
		return;
	}
	report_attempt(report, "memfd_create", fd, 0);
	report_attempt(report, "execveat-memfd",
		       syscall(SYS_execveat, fd, "", nothing, nothing,
			       AT_EMPTY_PATH),
		       ENOEXEC);
	report_attempt(report, "execveat-file",
		       syscall(SYS_execveat, named, "", nothing, nothing,
			       AT_EMPTY_PATH),
		       ENOEXEC);
}

const struct probe s_probes[] = {
	{ "S09", "io_uring", s09 },
	{ "S10", "TIOCSTI beyond 32 bits", s10 },
	{ "S12", "TIOCLINUX", s12 },
	{ "S13", "keyrings", s13 },
	{ "S14", "bpf", s14 },
	{ "S16", "userfaultfd", s16 },
	{ "S24", "personality", s24 },
	{ "S25", "modify_ldt, iopl, ioperm", s25 },
	{ "S26", "quota, reboot, swap, modules", s26 },
	{ "S28", "memory placement", s28 },
	{ "S29", "clocks", s29 },
	{ "S31", "fanotify, LSM list", s31 },
	{ "S32", "listmount", s32 },
	{ "S33", "execution of unnamed files", s33 },
	{ NULL, NULL, NULL },
};
