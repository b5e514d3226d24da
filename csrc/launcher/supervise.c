// SPDX-License-Identifier: Apache-2.0
/*
 * supervise.c - run a job: start it, keep the limits that only a supervisor
 * can, end it, leave nothing behind.
 *
 * One thread and one loop, which waits for pid 1's reports, the caller's
 * channel, signals, the command's output and the next deadline. What it does
 * and in which order: sandbox/run/{supervise,watch,outcome}.py, which this
 * file does the same as. Whatever kills this process, pid 1 sees the control
 * pipe close and ends the tree.
 *
 * Should: end every run. Must not: wait for anything but in ppoll(2) while
 * the command runs; report a run whose processes are not gone.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "supervise.h"
#include "sys.h"

#define WATCH_US 100000		/* between two looks at memory */
#define DRAIN_US 2000000
#define POLLS_MAX (4 + SBX_RELAY_POLLS)

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void kill_all(struct sbx_run *run)
{
	sbx_group_kill(&run->group);
	sbx_child_kill(&run->child, run->has_namespace);
}

/* End the tree for a reason. Memory and a caller are not asked to wait; the
 * rest gets its grace. */
static void end(struct sbx_run *run, enum sbx_cause cause)
{
	int is_first = run->ending->cause == SBX_CAUSE_NONE;

	if (run->is_over)
		return;
	if (is_first)
		run->ending->cause = (int32_t)cause;
	if (cause == SBX_CAUSE_MEMORY || cause == SBX_CAUSE_CANCELLED) {
		kill_all(run);
	} else if (is_first) {
		sbx_child_signal(&run->child, SIGTERM);
		run->kill_at_us = now_us() + run->grace_us;
	}
}

static void signal_pass_on(struct sbx_run *run, int number)
{
	if (run->is_over) {
		/* as it would end a command that waits for its reader */
		run->is_stopping |= sbx_signal_ends(number);
		return;
	}
	if (sbx_signal_ends(number))
		run->ending->flags |= SBX_ENDING_USER_ENDED;
	sbx_child_signal(&run->child, number);
	if (number == SIGTSTP)
		kill(getpid(), SIGSTOP);
}

/* What the channel asks to be sent to the command; pid 1 passes on the same. */
static void signal_asked(struct sbx_run *run, int number)
{
	switch (number) {
	case SIGKILL:
		end(run, SBX_CAUSE_CANCELLED);
		break;
	case SIGSTOP:
	case SIGTSTP:
		sbx_child_signal(&run->child, SIGTSTP);
		break;
	case SIGTERM:
	case SIGINT:
	case SIGHUP:
	case SIGQUIT:
	case SIGUSR1:
	case SIGUSR2:
	case SIGWINCH:
	case SIGCONT:
		signal_pass_on(run, number);
		break;
	default:
		break;	/* pid 1 would not pass it on, or it would hurt pid 1 */
	}
}

static void settle(const struct sbx_run *run)
{
	if (!(run->core->flags & SBX_INVOCATION_HOLD))
		return;
	/* a child that is gone says so by its error pipe */
	(void)!write(run->child.control_fd, "M", 1);
}

static void cancel(struct sbx_run *run, int32_t cause)
{
	int known = cause > SBX_CAUSE_NONE && cause < SBX_CAUSE_COUNT;

	run->is_stopping |= run->is_over;
	if (run->is_over)
		return;
	if (run->ending->cause == SBX_CAUSE_NONE)
		run->ending->cause = known ? cause : SBX_CAUSE_CANCELLED;
	kill_all(run);
}

static void channel_read(struct sbx_run *run)
{
	struct sbx_message message;
	ssize_t size = recv(run->channel, &message, sizeof(message),
			    MSG_DONTWAIT);

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size <= 0) {
		run->channel = -1;	/* the caller is gone */
		run->is_stopping = 1;
		cancel(run, SBX_CAUSE_CANCELLED);
		return;
	}
	if (size != (ssize_t)sizeof(message))
		return;
	switch (message.kind) {
	case SBX_MESSAGE_SIGNAL:
		signal_asked(run, message.value);
		break;
	case SBX_MESSAGE_KILL:
		cancel(run, message.value);
		break;
	case SBX_MESSAGE_SETTLED:
		settle(run);
		break;
	case SBX_MESSAGE_LIMIT:
		/* a command that came after its sandbox */
		if (message.value >= 0)
			run->deadline_us = now_us() +
					   (int64_t)message.value * 1000;
		break;
	default:
		break;
	}
}

/*
 * How set-up went: a record, or end of file once the command is executed.
 * Return: 0, or the negative errno of a failed start.
 */
static int start_read(struct sbx_run *run)
{
	struct sbx_error failure;
	ssize_t size = read(run->child.error_fd, &failure, sizeof(failure));

	if (size < 0)
		return errno == EINTR ? 0 : sbx_run_refuse(run, -errno);
	close(run->child.error_fd);
	run->child.error_fd = -1;
	if (size == (ssize_t)sizeof(failure)) {
		*run->error = failure;
		return failure.err > 0 ? -failure.err : -EPROTO;
	}
	if (size > 0)
		return sbx_run_refuse(run, -EPIPE);
	run->is_started = 1;
	sbx_denials_start(run);
	sbx_run_release(run);
	if (run->channel >= 0)
		sbx_channel_send(run->channel, SBX_MESSAGE_STARTED,
				 run->child.pid, NULL, 0);
	return 0;
}

/* Return: 1 when the run is over. */
static int status_read(struct sbx_run *run)
{
	struct sbx_status status;
	ssize_t size = read(run->child.status_fd, &status, sizeof(status));

	if (size < 0 && errno == EINTR)
		return 0;
	if (size == (ssize_t)sizeof(status)) {
		run->ending->status = status;
		run->ending->flags |= SBX_ENDING_STATUS_KNOWN;
	}
	return 1;
}

static void watch(struct sbx_run *run)
{
	int64_t now = now_us();
	enum sbx_cause cause;

	if (now >= run->deadline_us) {
		run->deadline_us = SBX_NEVER;
		end(run, SBX_CAUSE_TIMEOUT);
	}
	if (now >= run->kill_at_us) {
		run->kill_at_us = SBX_NEVER;
		kill_all(run);
	}
	if (now >= run->look_at_us) {
		run->look_at_us = now + WATCH_US;
		cause = sbx_run_look(run);
		if (cause)
			end(run, cause);
	}
}

/* Wait for one of @polls, a signal, or the moment @until. */
static int wait_for(struct sbx_run *run, struct pollfd *polls, int count,
		    int64_t until)
{
	int64_t left = until == SBX_NEVER ? 0 : until - now_us();
	struct timespec time;

	if (left < 0)
		left = 0;
	time.tv_sec = left / 1000000;
	time.tv_nsec = left % 1000000 * 1000;
	return ppoll(polls, (nfds_t)count, until == SBX_NEVER ? NULL : &time,
		     &run->signals.outside);
}

static int64_t earliest(const struct sbx_run *run)
{
	int64_t first = run->deadline_us;

	if (run->kill_at_us < first)
		first = run->kill_at_us;
	if (run->look_at_us < first)
		first = run->look_at_us;
	return first;
}

static void signals_pass_on(struct sbx_run *run)
{
	int number;

	while ((number = sbx_signals_take()))
		signal_pass_on(run, number);
}

/* One turn; *is_over is set when pid 1 has reported or is gone. */
static int turn(struct sbx_run *run, int *is_over)
{
	struct pollfd polls[POLLS_MAX];
	int count = 4;
	int err = 0;
	int ready, i;

	signals_pass_on(run);
	polls[0] = (struct pollfd){ .fd = run->child.error_fd,
				    .events = POLLIN };
	polls[1] = (struct pollfd){
		.fd = run->is_started ? run->child.status_fd : -1,
		.events = POLLIN };
	polls[2] = (struct pollfd){ .fd = run->channel, .events = POLLIN };
	polls[3] = (struct pollfd){ .fd = run->listener, .events = POLLIN };
	count += sbx_relay_polls(&run->relay, polls + count);
	ready = wait_for(run, polls, count, earliest(run));
	if (ready < 0 && errno != EINTR)
		return sbx_run_refuse(run, -errno);
	if (ready > 0) {
		if (polls[0].revents)
			err = start_read(run);
		if (!err && polls[1].revents)
			*is_over = status_read(run);
		if (err || *is_over)
			return err;
		if (polls[2].revents)
			channel_read(run);
		if (polls[3].revents)
			sbx_denials_serve(run);
		for (i = 4; i < count; i++)
			sbx_relay_handle(&run->relay, &polls[i]);
		if (run->relay.is_truncated)
			end(run, SBX_CAUSE_OUTPUT);
	}
	watch(run);
	return 0;
}

/* Pass on what was written, to its end; for a run that was ended early, not
 * longer than two seconds; and no longer than somebody waits for it. */
static void drain(struct sbx_run *run)
{
	int64_t until = run->ending->cause ? now_us() + DRAIN_US : SBX_NEVER;
	struct pollfd polls[1 + SBX_RELAY_POLLS];
	int count, i;

	for (;;) {
		signals_pass_on(run);
		sbx_relay_finish(&run->relay);
		count = sbx_relay_polls(&run->relay, polls + 1);
		if (!count || run->is_stopping ||
		    (until != SBX_NEVER && now_us() >= until))
			return;
		polls[0] = (struct pollfd){ .fd = run->channel,
					    .events = POLLIN };
		if (wait_for(run, polls, count + 1, until) <= 0)
			continue;
		if (polls[0].revents)
			channel_read(run);
		for (i = 1; i <= count; i++)
			sbx_relay_handle(&run->relay, &polls[i]);
	}
}

static void finish(struct sbx_run *run)
{
	run->is_over = 1;
	sbx_group_kill(&run->group);
	sbx_child_end(&run->child, run->has_namespace);
	sbx_group_usage(&run->group, run->ending);
	run->ending->wall_us = (uint64_t)(now_us() - run->started_us);
	drain(run);
	if (run->relay.count) {
		run->ending->flags |= SBX_ENDING_COUNTED;
		run->ending->output_bytes = run->relay.total;
	}
	if (run->relay.is_truncated)
		run->ending->flags |= SBX_ENDING_OUTPUT_TRUNCATED;
}

static int start(struct sbx_run *run)
{
	const struct sbx_job *job = run->job;
	const void *invocation = run->final ? run->final : job->invocation;
	int err;

	err = sbx_lifetime_prepare(run->has_namespace);
	if (err)
		return sbx_run_refuse(run, err);
	run->started_us = now_us();
	run->deadline_us = run->wall_us == SBX_NEVER ?
		SBX_NEVER : run->started_us + run->wall_us;
	run->kill_at_us = SBX_NEVER;
	err = sbx_spawn(job->plan, job->plan_size, invocation,
			job->invocation_size, &run->child, run->error);
	if (err)
		return err;
	sbx_signals_attach(&run->signals);
	sbx_relay_release_writers(&run->relay);
	err = sbx_run_groups_join(run);
	if (err) {
		sbx_child_end(&run->child, run->has_namespace);
		sbx_child_close(&run->child);
		return err;
	}
	if (run->core->flags & SBX_INVOCATION_HOLD)
		sbx_channel_send(run->channel, SBX_MESSAGE_SPAWNED,
				 run->child.pid, NULL, 0);
	return 0;
}

static int run_all(struct sbx_run *run)
{
	int is_over = 0;
	int err = sbx_run_finalize(run);

	if (err)
		return sbx_run_refuse(run, err);
	err = start(run);
	if (err)
		return err;
	while (!err && !is_over)
		err = turn(run, &is_over);
	if (err && !run->is_started)
		sbx_child_end(&run->child, run->has_namespace);
	else
		finish(run);
	sbx_child_close(&run->child);
	return run->is_started ? 0 : err;
}

/**
 * sbx_supervise - run a job to its end
 * Context: one thread, without children that it cares for.
 * Return: 0 and *ending: the command ran and everything is gone; or a negative
 *	errno and *error: nothing of it ran, and nothing is left. -EOPNOTSUPP
 *	at SBX_STAGE_CHECK: not a job for this supervisor.
 */
int sbx_supervise(const struct sbx_job *job, struct sbx_ending *ending,
		  struct sbx_error *error)
{
	struct sbx_run run;
	int err;

	memset(&run, 0, sizeof(run));
	memset(ending, 0, sizeof(*ending));
	memset(error, 0, sizeof(*error));
	if (job->denials)
		*job->denials = NULL;
	run.job = job;
	run.channel = job->channel;
	run.ending = ending;
	run.error = error;
	run.child = (struct sbx_child){ -1, -1, -1, -1, -1, -1 };
	run.placeholders.folder = -1;
	run.group.folder_fd = -1;
	run.listener = -1;
	err = sbx_run_check(&run);
	if (err)
		return err;
	sbx_signals_open(&run.signals, (job->flags & SBX_JOB_DETACHED) != 0);
	err = run_all(&run);
	sbx_relay_close(&run.relay);
	/* a journal that cannot be had now is collected by the next run */
	(void)sbx_group_end(&run.group);
	(void)sbx_placeholders_close(&run.placeholders);
	sbx_signals_close(&run.signals);
	sbx_denials_finish(&run);
	free(run.final);
	return err;
}
