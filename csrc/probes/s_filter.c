// SPDX-License-Identifier: Apache-2.0
/*
 * s_filter.c - group S: properties of the filter itself.
 *
 * Foreign ABIs, what the kernel says about the filter, whether threads and
 * descendants have it, and whether stacking another one weakens it.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define GENERATIONS 3
#define STATUS_MAX 8192

#if defined(__x86_64__)
static int int80_step(void *argument)
{
	const long getpid_i386 = 20;
	long ret;

	(void)argument;
	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(getpid_i386)
			 : "memory", "r8", "r9", "r10", "r11");
	return ret < 0 ? (int)-ret : 0;
}

static int x32_step(void *argument)
{
	const long x32_bit = 0x40000000;

	(void)argument;
	return errno_of(syscall(x32_bit | SYS_getpid));
}
#endif

/** s01 - a call through the 32-bit entry has other numbers */
static void s01(struct report *report, int argc, char **argv)
{
	(void)argc;
	(void)argv;
#if defined(__x86_64__)
	report_code(report, "int80", child_code(int80_step, NULL));
#else
	report_unprepared(report, "int $0x80 exists on x86 only");
#endif
}

/** s02 - x32 calls carry the architecture of x86-64 and a number bit */
static void s02(struct report *report, int argc, char **argv)
{
	(void)argc;
	(void)argv;
#if defined(__x86_64__)
	report_code(report, "x32", child_code(x32_step, NULL));
#else
	report_unprepared(report, "x32 exists on x86 only");
#endif
}

/** s35 - TLS as an upper layer protocol; EBADF comes after the filter */
static void s35(struct report *report, int argc, char **argv)
{
	uint64_t high = (uint64_t)1 << 32;

	(void)argc;
	(void)argv;
	report_attempt(report, "plain",
		       syscall(SYS_setsockopt, -1, (uint64_t)IPPROTO_TCP,
			       (uint64_t)TCP_ULP, "tls", 4),
		       EBADF);
	report_attempt(report, "high-half",
		       syscall(SYS_setsockopt, -1, high | IPPROTO_TCP,
			       high | TCP_ULP, "tls", 4),
		       EBADF);
}

static int stack_allow_filter(void)
{
	struct sock_filter code = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { .len = 1, .filter = &code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return errno;
	return errno_of(
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static int stack_step(void *argument)
{
	(void)argument;
	return stack_allow_filter();
}

static bool field_is(const char *status, const char *name, const char *value)
{
	char found[64];

	return status_field(status, name, found, sizeof(found)) &&
	       strcmp(found, value) == 0;
}

static bool has_filters(const char *status)
{
	char found[64];

	return status_field(status, "Seccomp_filters", found,
			    sizeof(found)) &&
	       strtol(found, NULL, 10) > 0;
}

/** s36 - what the kernel says: mode 2, no_new_privs, at least one filter */
static void s36(struct report *report, int argc, char **argv)
{
	char status[STATUS_MAX], value[64] = "?";
	int code;

	(void)argc;
	(void)argv;
	if (read_text("/proc/self/status", status, sizeof(status)) < 0) {
		report_unprepared(report, "/proc/self/status cannot be read");
		return;
	}
	report_presence(report, "unfiltered", !field_is(status, "Seccomp", "2"));
	report_presence(report, "new-privileges",
			!field_is(status, "NoNewPrivs", "1"));
	report_presence(report, "no-filter", !has_filters(status));
	status_field(status, "Seccomp_filters", value, sizeof(value));
	report_note(report, "Seccomp_filters %s", value);
	code = child_code(stack_step, NULL);
	errno = code;
	report_works(report, "one-more-filter", code ? -1 : 0);
}

/**
 * struct thread_view - what one thread sees of its own confinement
 * @thread: its handle
 * @is_filtered: Seccomp is 2 in its own status
 * @signal_code: of kill(1, 0), which a Landlock scope refuses
 */
struct thread_view {
	pthread_t thread;
	bool is_filtered;
	int signal_code;
};

static void *look_around(void *argument)
{
	struct thread_view *view = argument;
	char path[64], status[STATUS_MAX];

	snprintf(path, sizeof(path), "/proc/self/task/%ld/status",
		 syscall(SYS_gettid));
	view->is_filtered =
		read_text(path, status, sizeof(status)) > 0 &&
		field_is(status, "Seccomp", "2");
	view->signal_code = errno_of(kill(1, 0));
	return NULL;
}

/** s37 - every thread is filtered, and in the Landlock domain */
static void s37(struct report *report, int argc, char **argv)
{
	struct thread_view views[THREADS];
	char name[32];

	(void)argc;
	(void)argv;
	memset(views, 0, sizeof(views));
	for (size_t i = 0; i < THREADS; i++) {
		if (pthread_create(&views[i].thread, NULL, look_around,
				   &views[i]) != 0) {
			report_unprepared(report, "no thread");
			return;
		}
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(views[i].thread, NULL);
		snprintf(name, sizeof(name), "unfiltered-%zu", i);
		report_presence(report, name, !views[i].is_filtered);
		snprintf(name, sizeof(name), "signal-init-%zu", i);
		report_code(report, name, views[i].signal_code);
	}
}

static int exec_again_step(void *argument)
{
	char **argv = argument;

	execv(argv[0], argv);
	return errno;
}

/**
 * s38_descend - execute this program once more in a child
 * @program: path of this program
 * @left: generations to go
 *
 * Return: 0 if the last generation is filtered, ENOENT if not, another errno
 * where the chain broke.
 */
static int s38_descend(const char *program, long left)
{
	char depth[24], status[STATUS_MAX];
	char *argv[] = { (char *)program, "S38", (char *)program, depth,
			 NULL };
	int wait_status;
	pid_t pid;

	if (left == 0) {
		if (read_text("/proc/self/status", status, sizeof(status)) < 0)
			return errno;
		return field_is(status, "Seccomp", "2") && has_filters(status)
			       ? 0
			       : ENOENT;
	}
	snprintf(depth, sizeof(depth), "%ld", left - 1);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(exec_again_step(argv));
	if (pid < 0 || waitpid(pid, &wait_status, 0) < 0)
		return errno;
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : EPROTO;
}

/** s38 - the filter is inherited over three forks and execs */
static void s38(struct report *report, int argc, char **argv)
{
	const char *program = argument_or(argc, argv, 0, NULL);
	long left;
	int code;

	if (!program) {
		report_unprepared(report, "needs the path of this program");
		return;
	}
	if (long_argument(argc, argv, 1, &left) == 0)
		_exit(s38_descend(program, left));
	code = s38_descend(program, GENERATIONS);
	if (code && code != ENOENT) {
		report_unprepared(report, "the chain broke: %s",
				  strerror(code));
		return;
	}
	report_presence(report, "unfiltered-descendant", code == ENOENT);
}

/** s41 - a stacked filter that allows everything allows nothing */
static void s41(struct report *report, int argc, char **argv)
{
	struct clone_args user = { .flags = CLONE_NEWUSER,
				   .exit_signal = SIGCHLD };
	unsigned char params[256] = { 0 };
	int code = stack_allow_filter();
	long pid;

	(void)argc;
	(void)argv;
	errno = code;
	report_works(report, "allow-all-filter", code ? -1 : 0);
	fflush(stdout);
	pid = syscall(PROBE_NR_CLONE3, &user, sizeof(user));
	if (pid == 0)
		_exit(0);
	report_attempt(report, "clone3", pid, 0);
	pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	report_attempt(report, "clone", pid, 0);
	report_attempt(report, "setns", syscall(SYS_setns, -1, 0), EBADF);
	report_attempt(report, "io_uring",
		       syscall(PROBE_NR_IO_URING_SETUP, 1, params), 0);
	report_attempt(report, "unshare", unshare(CLONE_NEWUSER), 0);
	while (wait(NULL) > 0)
		;
}

const struct probe s_filter_probes[] = {
	{ "S01", "calls through the 32-bit entry", s01 },
	{ "S02", "x32 call numbers", s02 },
	{ "S35", "TCP upper layer protocols", s35 },
	{ "S36", "what the kernel says about the filter", s36 },
	{ "S37", "every thread is confined", s37 },
	{ "S38", "descendants are confined", s38 },
	{ "S41", "stacking a filter that allows all", s41 },
	{ NULL, NULL, NULL },
};
