/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervise.h - the supervisor: what a job is, and the parts that serve it.
 */
#ifndef SBX_SUPERVISE_H
#define SBX_SUPERVISE_H

#include <poll.h>

#include "core.h"
#include "group.h"

#define SBX_JOB_KEEP_STDERR 0x1	/* else the command's are let go of at its start */
#define SBX_JOB_FACTS 0x4	/* the entry's facts are to be looked at, and decide */
#define SBX_JOB_DETACHED 0x2	/* a session of its own: only TERM is passed on */

struct sbx_run;

/**
 * struct sbx_job - one run
 * @plan: the walls; the limits are in its SUPERVISE section
 * @invocation: what runs
 * @flags: SBX_JOB_*
 * @channel: SOCK_SEQPACKET to the caller (abi_job.h), or -1
 * @placeholders: an opened entry with the PLACEHOLDERS section, whose strings
 *	were checked, the GROUPS and the FACTS section; or NULL
 * @denials: where the record of refused calls is left for sbx_notify_close();
 *	NULL: nobody wants it
 */
struct sbx_job {
	const void *plan;
	size_t plan_size;
	const void *invocation;
	size_t invocation_size;
	uint32_t flags;
	int channel;
	const struct sbx_view *placeholders;
	struct sbx_notify **denials;
};

/* supervise.c */
int sbx_supervise(const struct sbx_job *job, struct sbx_ending *ending,
		  struct sbx_error *error);

/* job.c: the supervisor of a Python program */
int sbx_job_main(void);
int sbx_channel_send(int channel, enum sbx_message_kind kind, int32_t value,
		     const void *record, size_t size);

/**
 * struct sbx_signals - the caller's signals, caught for the length of a run
 * @handled: those that were not ignored before
 * @outside: the mask to wait with, which lets them in
 * @previous: how each was handled
 */
struct sbx_signals {
	sigset_t handled;
	sigset_t outside;
	struct sigaction previous[NSIG];
};

/* signals.c */
void sbx_signals_open(struct sbx_signals *signals, int is_detached);
void sbx_signals_attach(struct sbx_signals *signals);
int sbx_signals_take(void);
void sbx_signals_close(struct sbx_signals *signals);
int sbx_signal_ends(int number);

/* lifetime.c: the child from its start to the end of its tree */
int sbx_lifetime_prepare(int has_namespace);
void sbx_child_signal(const struct sbx_child *child, int number);
void sbx_child_kill(struct sbx_child *child, int has_namespace);
void sbx_child_end(struct sbx_child *child, int has_namespace);
void sbx_child_close(struct sbx_child *child);

/* denials.c */
void sbx_denials_start(struct sbx_run *run);
void sbx_denials_serve(struct sbx_run *run);
void sbx_denials_finish(struct sbx_run *run);

/* memory.c */
uint64_t sbx_tree_memory(pid_t root, uint64_t limit_bytes);

#define SBX_RELAY_PIPES 2
#define SBX_RELAY_POLLS (2 * SBX_RELAY_PIPES)

/**
 * struct sbx_relay_pipe - one file of the caller's that output goes to
 * @reader: of the pipe that the command writes to; -1 at its end
 * @writer: the command's end, until it has it
 * @destination: a descriptor of our own; -1 once nothing more goes there
 * @way: enum sbx_relay_way of relay.c
 * @dev: with @ino, which file it is
 * @buffer: read and not yet written: @at to @size
 */
struct sbx_relay_pipe {
	int reader;
	int writer;
	int destination;
	int way;
	dev_t dev;
	ino_t ino;
	char *buffer;
	size_t at;
	size_t size;
};

/**
 * struct sbx_relay - the command's output on its way through us, counted
 * @limit: bytes that may pass
 * @total: bytes that did
 * @is_truncated: there were more
 */
struct sbx_relay {
	uint64_t limit;
	uint64_t total;
	int is_truncated;
	int count;
	struct sbx_relay_pipe pipes[SBX_RELAY_PIPES];
};

/* relay.c */
int sbx_relay_open(struct sbx_relay *relay, uint64_t limit,
		   struct sbx_fd_map *fds, size_t count);
void sbx_relay_release_writers(struct sbx_relay *relay);
int sbx_relay_polls(const struct sbx_relay *relay,
		    struct pollfd polls[SBX_RELAY_POLLS]);
void sbx_relay_handle(struct sbx_relay *relay, const struct pollfd *ready);
void sbx_relay_finish(struct sbx_relay *relay);
void sbx_relay_close(struct sbx_relay *relay);

/**
 * struct sbx_placeholders - those of one run
 * @folder: of the journals, or -1
 * @run_id: the name of this run's journal
 * @count: of @made
 * @made: one for each record of the entry
 */
struct sbx_placeholders {
	int folder;
	char run_id[17];
	size_t count;
	struct sbx_made {
		const char *path;
		int is_there;		/* it can be covered inside */
		dev_t dev;
		ino_t ino;
	} *made;
};

/* placeholders.c */
int sbx_placeholders_open(struct sbx_placeholders *placeholders,
			  const struct sbx_view *entry);
int sbx_placeholders_close(struct sbx_placeholders *placeholders);

/* final.c: the invocation as it runs */
void *sbx_final_copy(const void *invocation, size_t size);
struct sbx_fd_map *sbx_final_fds(void *invocation, size_t *count);
int sbx_final_hold(void *invocation);
void sbx_final_drop(void *invocation, const struct sbx_view *entry,
		    const struct sbx_placeholders *placeholders);

/* journal.c */
struct sbx_journal_row {
	uint64_t dev;
	uint64_t ino;
	char path[PATH_MAX];
};

void sbx_run_id_make(char run_id[17]);
int sbx_journal_folder(void);
int sbx_journal_lock(int folder);
int sbx_journal_write(int folder, const char *name, const char *rows,
		      size_t size);
char *sbx_journal_read(int folder, const char *name);
int sbx_journal_is_alive(const char *text);
const char *sbx_journal_next(const char *at, struct sbx_journal_row *row);

#define SBX_NEVER INT64_MAX

/**
 * struct sbx_run - a job on its way
 * @notify: the record of refused calls, or NULL
 * @listener: where they arrive; -1: none, or no more will
 * @final: the invocation as it runs, or NULL: the job's
 * @memory_bytes: limit of what is resident; 0: none
 * @cpu_ms: limit of the group; 0: none
 * @output_bytes: limit; UINT64_MAX: none
 * @wall_us: limit, or SBX_NEVER
 * @deadline_us: like every *_us below a moment of the monotonic clock
 * @channel: to the caller; -1: none, or it is gone
 * @is_over: what is asked for from now on is too late to count …
 * @is_stopping: … and somebody asked not to wait for readers any longer
 */
struct sbx_run {
	const struct sbx_job *job;
	const struct sbx_invocation_core *core;
	struct sbx_child child;
	struct sbx_signals signals;
	struct sbx_relay relay;
	struct sbx_placeholders placeholders;
	struct sbx_group group;
	struct sbx_notify *notify;
	int listener;
	struct sbx_ending *ending;
	struct sbx_error *error;
	void *final;
	uint64_t memory_bytes;
	uint64_t cpu_ms;
	uint64_t output_bytes;
	int64_t wall_us;
	int64_t grace_us;
	int64_t started_us;
	int64_t deadline_us;
	int64_t kill_at_us;
	int64_t look_at_us;
	int has_namespace;
	int channel;
	int is_started;
	int is_over;
	int is_stopping;
};

/* run_group.c */
int sbx_run_has_groups(const struct sbx_job *job);
int sbx_run_groups_make(struct sbx_run *run);
int sbx_run_groups_join(struct sbx_run *run);
enum sbx_cause sbx_run_look(struct sbx_run *run);

/* prepare.c */
int sbx_run_check(struct sbx_run *run);
int sbx_run_finalize(struct sbx_run *run);
void sbx_run_release(struct sbx_run *run);
int sbx_run_refuse(struct sbx_run *run, int err);

#endif
