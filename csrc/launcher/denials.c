// SPDX-License-Identifier: Apache-2.0
/*
 * denials.c - the record of refused calls, in the supervisor's loop.
 *
 * Runs in the supervisor. The listener comes with the start of the command,
 * whose refused calls wait for the loop from then on; without one they are
 * answered by the kernel, and nothing is recorded (csrc/notify.c).
 */
#include <errno.h>
#include <unistd.h>

#include "supervise.h"

/**
 * sbx_denials_start - take the listener over
 * Context: the command is executed.
 */
void sbx_denials_start(struct sbx_run *run)
{
	int listener;

	if (run->child.handover_fd < 0)
		return;
	listener = sbx_listener_receive(run->child.handover_fd);
	close(run->child.handover_fd);
	run->child.handover_fd = -1;
	if (listener < 0) {
		if (listener != -EPIPE)
			run->ending->denials_errno = -listener;
		return;
	}
	run->notify = sbx_notify_open(listener, run->job->plan,
				      run->job->plan_size,
				      (uint64_t)run->started_us);
	if (run->notify)
		run->listener = listener;
	else
		run->ending->denials_errno = ENOMEM;
}

/**
 * sbx_denials_serve - answer and record what waits
 */
void sbx_denials_serve(struct sbx_run *run)
{
	if (sbx_notify_serve(run->notify) < 0)
		run->listener = -1;
}

/**
 * sbx_denials_finish - hand the record on: up the channel, or to the job's owner
 * Context: after the end of the child.
 */
void sbx_denials_finish(struct sbx_run *run)
{
	const struct sbx_denial *records;
	uint32_t count, i;

	if (!run->notify)
		return;
	records = sbx_notify_denials(run->notify);
	count = sbx_notify_count(run->notify);
	run->ending->denial_count = count;
	run->ending->denials_lost = sbx_notify_lost(run->notify);
	for (i = 0; i < count && run->channel >= 0; i++)
		if (sbx_channel_send(run->channel, SBX_MESSAGE_DENIAL, 0,
				     &records[i], sizeof(records[i])) < 0)
			break;
	if (run->job->denials)
		*run->job->denials = run->notify;
	else
		sbx_notify_close(run->notify);
}
