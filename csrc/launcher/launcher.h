/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launcher.h - declarations shared by the files of the launcher.
 */
#ifndef SBX_LAUNCHER_H
#define SBX_LAUNCHER_H

#include "core.h"

#define SBX_EXIT_TIMEOUT 124	/* as in errors.py */
#define SBX_EXIT_SANDBOX 125
#define SBX_NAME_SIZE 33		/* of a file in the cache, with its NUL */
#define SBX_HANDOVER -1		/* not an exit code: Python is to do it */

extern char **environ;

/**
 * struct sbx_text - bytes that grow; NULL data before the first
 * @failed: memory ran out; nothing was added since
 */
struct sbx_text {
	char *data;
	size_t size;
	size_t room;
	int failed;
};

/**
 * struct sbx_arguments - the words after `exec`
 * @options: the first word
 * @option_count: words of options, without the `--` that ends them
 * @command: the command and its arguments, ends with NULL
 * @is_quiet: -q or --quiet is among them
 */
struct sbx_arguments {
	char **options;
	size_t option_count;
	char **command;
	int is_quiet;
};

/**
 * struct sbx_entry - an entry of the plan cache that holds
 * @view: the checked blob
 * @core: its CORE record
 * @plan: an encoded plan
 * @template: an encoded invocation that lacks its command
 * @are_facts_late: they were not looked at; the supervisor has to
 */
struct sbx_entry {
	struct sbx_view view;
	const struct sbx_entry_core *core;
	const void *plan;
	size_t plan_size;
	const void *template;
	size_t template_size;
	int are_facts_late;
};

/* handover.c */
int sbx_handover(char *argv[], int has_spoken);
void sbx_python_tell(const char *module, const void *record, size_t size);
char *sbx_interpreter(char *head);

/* job.c: the supervisor of a Python program */
int sbx_job_main(void);

/* exec.c */
int sbx_exec(char *words[], int *has_spoken);

/* arguments.c */
int sbx_arguments_read(char *words[], struct sbx_arguments *arguments);
int sbx_is_quiet_word(const char *word);

/* cache.c */
int sbx_own_folder(const char *variable, const char *below_home,
		   const char *name, struct sbx_text *path);
int sbx_entry_key(const char *cwd, const struct sbx_arguments *arguments,
		  struct sbx_text *key);
void sbx_entry_name(const struct sbx_text *key, char name[SBX_NAME_SIZE]);
int sbx_entry_open(const struct sbx_text *key, struct sbx_entry *entry);
int sbx_entry_judge(const void *blob, size_t size, const struct sbx_text *key,
		    struct sbx_entry *entry);

/* invocation.c: the invocation of this command, from its template */
int sbx_invocation_make(const struct sbx_entry *entry, char *const command[],
			char *const caller[], struct sbx_text *made);

/* buffer.c */
void sbx_say(const char *const words[]);
void sbx_text_add(struct sbx_text *text, const void *data, size_t size);
void sbx_text_string(struct sbx_text *text, const char *string);
void sbx_text_free(struct sbx_text *text);

#endif
