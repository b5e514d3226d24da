// SPDX-License-Identifier: Apache-2.0
/*
 * ending.c - the exit code and the one line about an early end.
 *
 * The same as Result.shell_exit_code() of sandbox/launch/result.py, reason of
 * sandbox/run/outcome.py and ending_text() of sandbox/cli/exec.py.
 */
#include <string.h>
#include <sys/wait.h>

#include "ending.h"

#define SIGNAL_BASE 128

/* Limits that a run can reach, in the order in which results list them. */
enum limit {
	LIMIT_CPU = 0x1,
	LIMIT_CPU_QUOTA = 0x2,
	LIMIT_FILE_SIZE = 0x4,
	LIMIT_MEMORY = 0x8,
	LIMIT_OUTPUT = 0x10,
	LIMIT_PIDS = 0x20,
	LIMIT_WALL = 0x40,
};

static const char *const limit_names[] = {
	"cpu", "cpu_quota", "file_size", "memory", "output", "pids", "wall",
};

/**
 * sbx_ending_signal - the signal that ended the command, or 0
 *
 * Without a report pid 1 was killed, and with it everything.
 */
int sbx_ending_signal(const struct sbx_ending *ending)
{
	int status = ending->status.wait_status;

	if (!(ending->flags & SBX_ENDING_STATUS_KNOWN))
		return SIGKILL;
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* The kernel ended the run for its memory: the command, or what a shell ran. */
static int is_oom(const struct sbx_ending *ending)
{
	if (!(ending->hits & SBX_HIT_MEMORY))
		return 0;
	return sbx_ending_signal(ending) == SIGKILL ||
	       (WIFEXITED(ending->status.wait_status) &&
		WEXITSTATUS(ending->status.wait_status) ==
			SIGNAL_BASE + SIGKILL);
}

/**
 * sbx_ending_reason - why the run ended
 */
enum sbx_reason sbx_ending_reason(const struct sbx_ending *ending)
{
	switch (ending->cause) {
	case SBX_CAUSE_TIMEOUT:
		return SBX_REASON_TIMEOUT;
	case SBX_CAUSE_MEMORY:
		return SBX_REASON_OOM;
	case SBX_CAUSE_CPU:
	case SBX_CAUSE_OUTPUT:
		return SBX_REASON_LIMIT;
	default:
		break;
	}
	if (is_oom(ending))
		return SBX_REASON_OOM;
	if (!(ending->flags & SBX_ENDING_STATUS_KNOWN))
		return SBX_REASON_SIGNALED;
	switch (sbx_ending_signal(ending)) {
	case 0:
		return SBX_REASON_EXITED;
	case SIGSYS:
		return SBX_REASON_POLICY;
	case SIGXCPU:
	case SIGXFSZ:
		return SBX_REASON_LIMIT;
	default:
		return SBX_REASON_SIGNALED;
	}
}

static unsigned int limits_hit(const struct sbx_ending *ending)
{
	static const unsigned int causes[] = {
		[SBX_CAUSE_TIMEOUT] = LIMIT_WALL,
		[SBX_CAUSE_MEMORY] = LIMIT_MEMORY,
		[SBX_CAUSE_CPU] = LIMIT_CPU,
		[SBX_CAUSE_OUTPUT] = LIMIT_OUTPUT,
		[SBX_CAUSE_CANCELLED] = 0,
	};
	unsigned int hit = 0;

	if (ending->cause > 0 &&
	    (size_t)ending->cause < sizeof(causes) / sizeof(causes[0]))
		hit = causes[ending->cause];
	if (sbx_ending_signal(ending) == SIGXCPU)
		hit |= LIMIT_CPU;
	if (sbx_ending_signal(ending) == SIGXFSZ)
		hit |= LIMIT_FILE_SIZE;
	if (ending->hits & SBX_HIT_MEMORY)
		hit |= LIMIT_MEMORY;
	if (ending->hits & SBX_HIT_PIDS)
		hit |= LIMIT_PIDS;
	if (ending->hits & SBX_HIT_CPU_QUOTA)
		hit |= LIMIT_CPU_QUOTA;
	return hit;
}

/**
 * sbx_ending_code - the number for the shell
 */
int sbx_ending_code(const struct sbx_ending *ending)
{
	int number = sbx_ending_signal(ending);

	if (sbx_ending_reason(ending) == SBX_REASON_TIMEOUT)
		return SBX_EXIT_TIMEOUT;
	return number ? SIGNAL_BASE + number :
			WEXITSTATUS(ending->status.wait_status);
}

/**
 * sbx_ending_say - write why the command did not end by itself; else nothing
 */
void sbx_ending_say(const struct sbx_ending *ending)
{
	static const char *const texts[] = {
		[SBX_REASON_TIMEOUT] = "the command was ended: its time was up",
		[SBX_REASON_OOM] = "the command was ended: it used too much memory",
		[SBX_REASON_LIMIT] = "the command was ended by a limit",
		[SBX_REASON_POLICY] = "the command was ended by the system-call filter "
			   "(SIGSYS)",
	};
	const size_t names = sizeof(limit_names) / sizeof(limit_names[0]);
	enum sbx_reason reason = sbx_ending_reason(ending);
	unsigned int hit = limits_hit(ending);
	const char *words[4 + 2 * sizeof(limit_names) / sizeof(limit_names[0])];
	size_t used = 0, i;

	if (reason == SBX_REASON_EXITED || reason == SBX_REASON_SIGNALED)
		return;
	words[used++] = "sandbox: ";
	words[used++] = texts[reason];
	for (i = 0; i < names && reason != SBX_REASON_POLICY; i++) {
		if (!(hit & 1u << i))
			continue;
		words[used] = used == 2 ? " (limit " : ", ";
		words[used + 1] = limit_names[i];
		used += 2;
	}
	words[used] = used > 2 ? ")\n" : "\n";
	words[used + 1] = NULL;
	sbx_say(words);
}
