/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ending.h - what a run that ended is to the shell, to people and to the log.
 */
#ifndef SBX_LAUNCHER_ENDING_H
#define SBX_LAUNCHER_ENDING_H

#include "launcher.h"

/* As numbered in the log of runs: abi_denials.h. */
enum sbx_reason {
	SBX_REASON_EXITED = 0,
	SBX_REASON_SIGNALED = 1,
	SBX_REASON_TIMEOUT = 2,
	SBX_REASON_OOM = 3,
	SBX_REASON_LIMIT = 4,
	SBX_REASON_POLICY = 5,
};

/**
 * struct sbx_told - a run that ended, with what was asked for
 * @started_us: since 1970
 * @denials: refused calls, or NULL
 */
struct sbx_told {
	const struct sbx_arguments *arguments;
	const struct sbx_entry *entry;
	const struct sbx_ending *ending;
	uint64_t started_us;
	struct sbx_notify *denials;
};

/* ending.c */
enum sbx_reason sbx_ending_reason(const struct sbx_ending *ending);
int sbx_ending_signal(const struct sbx_ending *ending);
int sbx_ending_code(const struct sbx_ending *ending);
void sbx_ending_say(const struct sbx_ending *ending);

/* record.c */
void sbx_record_make(const struct sbx_told *told, struct sbx_text *record);
void sbx_record_log(const struct sbx_text *record);

#endif
