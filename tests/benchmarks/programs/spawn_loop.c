// SPDX-License-Identifier: Apache-2.0
/*
 * spawn_loop.c - how often can a command run within some time, on so many lanes?
 *
 *	spawn_loop SECONDS LANES PROGRAM [ARG...]
 *
 * Prints the number of runs that ended well and the microseconds that passed.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void lane(char *argv[], int64_t until, long *count)
{
	while (now_us() < until) {
		int status = 0;
		pid_t pid;

		if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) ||
		    waitpid(pid, &status, 0) < 0 || status)
			_exit(1);
		++*count;
	}
	_exit(0);
}

int main(int argc, char *argv[])
{
	int lanes, i, status, failed = 0;
	int64_t start, until;
	long total = 0;
	long *counts;

	if (argc < 4)
		return 2;
	lanes = atoi(argv[2]);
	counts = mmap(NULL, (size_t)lanes * sizeof(long), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED)
		return 2;
	start = now_us();
	until = start + (int64_t)(atof(argv[1]) * 1e6);
	for (i = 0; i < lanes; i++)
		if (fork() == 0)
			lane(&argv[3], until, &counts[i]);
	while (wait(&status) > 0)
		failed |= status;
	for (i = 0; i < lanes; i++)
		total += counts[i];
	printf("%ld %" PRId64 "\n", total, now_us() - start);
	return failed ? 1 : 0;
}
