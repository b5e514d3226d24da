// SPDX-License-Identifier: Apache-2.0
/*
 * getppid.c - what one allowed call costs without a filter and behind one.
 *
 *	getppid FILE		a file of seccomp instructions
 *
 * A child loads the filter; then both take turns on one processor, so that what
 * changes the speed of the machine changes it for both. The best of many short
 * batches counts for each: load can only make a batch slower. Prints two
 * numbers, in picoseconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 400
#define CALLS 2000
#define PROGRAM_MAX 32768	/* 4096 instructions of 8 bytes */

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int filter_load(const char *path)
{
	static char code[PROGRAM_MAX];
	struct sock_fprog program = { .filter = (struct sock_filter *)code };
	int fd = open(path, O_RDONLY);
	ssize_t size = fd < 0 ? -1 : read(fd, code, sizeof(code));

	if (size <= 0)
		return -1;
	close(fd);
	program.len = (unsigned short)((size_t)size / sizeof(struct sock_filter));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static int64_t batch(void)
{
	int64_t start = now_ns();
	int i;

	for (i = 0; i < CALLS; i++)
		syscall(SYS_getppid);
	return now_ns() - start;
}

/* Run a batch for each byte, and write what it took. */
static int filtered(const char *path, int requests, int answers)
{
	char byte;

	if (filter_load(path) < 0)
		return 1;
	while (read(requests, &byte, 1) == 1) {
		int64_t took = batch();

		if (write(answers, &took, sizeof(took)) != (ssize_t)sizeof(took))
			return 1;
	}
	return 0;
}

static void keep_least(int64_t *best, int64_t value)
{
	if (value < *best)
		*best = value;
}

int main(int argc, char *argv[])
{
	int64_t plain = INT64_MAX, behind = INT64_MAX, took;
	int requests[2], answers[2];
	cpu_set_t one;
	int i, cpu;

	cpu = sched_getcpu();
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (argc != 2 || sched_setaffinity(0, sizeof(one), &one) < 0 ||
	    pipe(requests) < 0 || pipe(answers) < 0)
		return 2;
	if (fork() == 0) {
		close(requests[1]);
		_exit(filtered(argv[1], requests[0], answers[1]));
	}
	close(answers[1]);
	for (i = 0; i < BATCHES; i++) {
		keep_least(&plain, batch());
		if (write(requests[1], "", 1) != 1 ||
		    read(answers[0], &took, sizeof(took)) != (ssize_t)sizeof(took))
			return 1;
		keep_least(&behind, took);
	}
	close(requests[1]);
	wait(NULL);
	printf("%" PRId64 " %" PRId64 "\n", plain * 1000 / CALLS,
	       behind * 1000 / CALLS);
	return 0;
}
