// SPDX-License-Identifier: Apache-2.0
/*
 * record.c - the record of a run for the log, as sandbox/run/runlog.py has it.
 *
 * Runs in the launcher after the end of the run. The log's directory is made
 * by Python, the first time it prepares a run; where there is none that is
 * private, nothing is written, and the run is none the worse for it.
 */
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ending.h"
#include "supervise.h"

/* Words as long as all fit; the first that does not is the end. */
struct words {
	struct sbx_text text;
	int is_cut;
	uint32_t option_count;
};

static void word_add(struct words *words, const char *prefix, const char *word)
{
	size_t size = strlen(prefix) + strlen(word) + 1;

	if (words->is_cut || words->text.size + size > SBX_LOG_TEXT_MAX) {
		words->is_cut = 1;
		return;
	}
	sbx_text_string(&words->text, prefix);
	sbx_text_add(&words->text, word, strlen(word) + 1);
}

static int is_option(const char *word, const char *name)
{
	size_t size = strcspn(word, "=");

	return strlen(name) == size && !strncmp(word, name, size);
}

/* Which options go where: policies come first, then layers, then the rest. */
static int option_turn(const char *word)
{
	if (is_option(word, "--policy"))
		return 0;
	return is_option(word, "--tighten") ? 1 : 2;
}

static void option_add(struct words *words, const char *name, const char *value)
{
	char prefix[64];
	size_t size = strlen(name);

	words->option_count++;
	if (!value || size + 2 > sizeof(prefix)) {
		word_add(words, "", name);
		return;
	}
	memcpy(prefix, name, size);
	memcpy(prefix + size, "=", 2);
	word_add(words, prefix, value);
}

static void options_add(struct words *words,
			const struct sbx_arguments *arguments)
{
	int turn;

	for (turn = 0; turn < 3; turn++) {
		uint32_t before = words->option_count;
		size_t i;

		for (i = 0; i < arguments->option_count; i++) {
			char *const *at = &arguments->options[i];
			int is_pair = !strchr(at[0], '=') &&
				      !sbx_is_quiet_word(at[0]);

			if (option_turn(at[0]) == turn &&
			    !sbx_is_quiet_word(at[0]))
				option_add(words, at[0],
					   is_pair ? at[1] : NULL);
			i += (size_t)is_pair;
		}
		if (turn == 0 && words->option_count == before)
			option_add(words, "--policy", "default");
	}
}

static void words_make(const struct sbx_told *told, struct words *words)
{
	char cwd[PATH_MAX];
	char *const *at;

	memset(words, 0, sizeof(*words));
	word_add(words, "", sbx_string(&told->entry->view,
				       told->entry->core->policy));
	word_add(words, "", getcwd(cwd, sizeof(cwd)) ? cwd : "");
	options_add(words, told->arguments);
	for (at = told->arguments->command; *at; at++)
		word_add(words, "", *at);
}

static size_t padded(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

/**
 * sbx_record_make - the bytes of the record
 * @record: filled; the caller frees it
 */
void sbx_record_make(const struct sbx_told *told, struct sbx_text *record)
{
	const struct sbx_ending *ending = told->ending;
	int number = sbx_ending_signal(ending);
	uint32_t count = told->denials ? sbx_notify_count(told->denials) : 0;
	struct sbx_log_record head = {
		.magic = SBX_LOG_MAGIC,
		.started_us = told->started_us,
		.wall_us = ending->wall_us,
		.flags = number ? SBX_LOG_SIGNALED : 0,
		.value = number ? number :
				  WEXITSTATUS(ending->status.wait_status),
		.reason = sbx_ending_reason(ending),
		.denials_lost = ending->denials_lost,
		.denial_count = count < SBX_LOG_DENIALS_MAX ?
					count : SBX_LOG_DENIALS_MAX,
	};
	static const char zeros[8];
	struct words words;

	memset(record, 0, sizeof(*record));
	words_make(told, &words);
	sbx_run_id_make(head.run_id);
	if (words.is_cut)
		head.flags |= SBX_LOG_TEXT_CUT;
	head.option_count = words.option_count;
	head.text_size = (uint32_t)words.text.size;
	head.size = (uint32_t)(sizeof(head) + padded(words.text.size) +
			       head.denial_count * sizeof(struct sbx_denial));
	sbx_text_add(record, &head, sizeof(head));
	sbx_text_add(record, words.text.data, words.text.size);
	sbx_text_add(record, zeros, padded(words.text.size) - words.text.size);
	if (head.denial_count)
		sbx_text_add(record, sbx_notify_denials(told->denials),
			     head.denial_count * sizeof(struct sbx_denial));
	record->failed |= words.text.failed;
	sbx_text_free(&words.text);
}

/**
 * sbx_record_log - append the record to the log of runs, where there is one
 */
void sbx_record_log(const struct sbx_text *record)
{
	struct sbx_log_record *head = (void *)record->data;
	struct sbx_text path = { 0 };
	const char *text;

	if (record->failed)
		return;
	text = record->data + sizeof(*head);
	if (sbx_own_folder("XDG_STATE_HOME", "/.local/state", "/log", &path) == 0) {
		sbx_text_add(&path, "/runs", sizeof("/runs"));
		if (!path.failed)
			(void)sbx_log_append(
				path.data, head, text,
				(const void *)(text + padded(head->text_size)));
	}
	sbx_text_free(&path);
}
