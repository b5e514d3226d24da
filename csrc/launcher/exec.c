// SPDX-License-Identifier: Apache-2.0
/*
 * exec.c - `sandbox exec` from the plan cache.
 *
 * Up to sbx_supervise() nothing is changed that Python would notice, and when
 * that returns an error nothing of the command has run: in both cases Python
 * does it instead, and words what is wrong. So no failure is explained here.
 */
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ending.h"
#include "supervise.h"

/* Closed ones get /dev/null and a note from Python, see cli/streams.py. */
static int streams_are_open(void)
{
	int fd;

	for (fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			return 0;
	return 1;
}

/* A terminal of its own for the command is relayed by Python. */
static int has_terminal(void)
{
	return isatty(0) || isatty(1) || isatty(2);
}

/* Whether there were any. */
static int notes_print(const struct sbx_view *view)
{
	const uint32_t *notes;
	size_t count, i;

	notes = sbx_records(view, SBX_SECTION_ENTRY_NOTES, &count);
	for (i = 0; i < count; i++) {
		const char *const words[] = {
			"sandbox: note: ", sbx_string(view, notes[i]), "\n",
			NULL,
		};

		sbx_say(words);
	}
	return count > 0;
}

/* The entry for these words, with all that must be so to use it. */
static int entry_find(char *words[], struct sbx_arguments *arguments,
		      struct sbx_entry *entry)
{
	char cwd[PATH_MAX];
	struct sbx_text key;
	int err;

	/* who runs a set-id program is not who asked for the entry */
	if (geteuid() != getuid() || getegid() != getgid() ||
	    sbx_arguments_read(words, arguments) || !streams_are_open() ||
	    !getcwd(cwd, sizeof(cwd)) || cwd[0] != '/')
		return SBX_HANDOVER;
	err = sbx_entry_key(cwd, arguments, &key);
	if (!err)
		err = sbx_entry_open(&key, entry);
	sbx_text_free(&key);
	if (err || (entry->core->flags & SBX_ENTRY_TTY_RELAY && has_terminal()))
		return SBX_HANDOVER;
	return 0;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Refused calls are worded by Python, which knows the policy's lines. */
static void ended_tell(const struct sbx_told *told)
{
	int is_quiet = told->arguments->is_quiet;
	struct sbx_text record;

	if (!is_quiet)
		sbx_ending_say(told->ending);
	sbx_record_make(told, &record);
	sbx_record_log(&record);
	if (!is_quiet && !record.failed && told->ending->denial_count &&
	    (sbx_ending_code(told->ending) || isatty(2)))
		sbx_python_tell("sandbox.cli.refused", record.data,
				record.size);
	sbx_text_free(&record);
}

/**
 * sbx_exec - run what follows `exec`
 * @words: ends with NULL
 * @has_spoken: set where the notes were written already
 *
 * Return: the exit code, or SBX_HANDOVER, and nothing ran.
 */
int sbx_exec(char *words[], int *has_spoken)
{
	struct sbx_arguments arguments;
	struct sbx_text invocation;
	struct sbx_ending ending;
	struct sbx_entry entry;
	struct sbx_error error;
	struct sbx_told told = {
		.arguments = &arguments,
		.entry = &entry,
		.ending = &ending,
	};
	struct sbx_job job = {
		.flags = SBX_JOB_KEEP_STDERR,
		.channel = -1,
		.placeholders = &entry.view,
	};

	*has_spoken = 0;
	if (entry_find(words, &arguments, &entry) ||
	    sbx_invocation_make(&entry, arguments.command, environ,
				&invocation) < 0)
		return SBX_HANDOVER;
	if (!arguments.is_quiet)
		*has_spoken = notes_print(&entry.view);
	if (entry.are_facts_late)
		job.flags |= SBX_JOB_FACTS;
	job.plan = entry.plan;
	job.plan_size = entry.plan_size;
	job.invocation = invocation.data;
	job.invocation_size = invocation.size;
	job.denials = &told.denials;
	told.started_us = now_us();
	if (sbx_supervise(&job, &ending, &error) < 0)
		return SBX_HANDOVER;
	ended_tell(&told);
	return sbx_ending_code(&ending);
}
