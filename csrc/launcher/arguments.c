// SPDX-License-Identifier: Apache-2.0
/*
 * arguments.c - where the options of `exec` end and the command begins.
 *
 * The options themselves are part of the cache key, word by word; what they
 * mean was decided when the entry was made. So the launcher knows only which
 * of them take a value. It hands over for those that Python alone can do, and
 * for every word it does not know: errors are worded there.
 *
 * The table is that of sandbox/cli/exec_options.py; a test compares them.
 */
#include <string.h>

#include "launcher.h"

enum option_kind {
	FLAG,		/* takes no value */
	VALUE,
	QUIET,		/* a flag that is no part of the key */
	PYTHON,		/* a flag or a value, and Python's business */
};

struct option {
	const char *name;
	enum option_kind kind;
};

static const struct option options[] = {
	{ "--policy", VALUE },
	{ "--tighten", VALUE },
	{ "--ro", VALUE },
	{ "--rw", VALUE },
	{ "--tmpfs", VALUE },
	{ "--bind", VALUE },
	{ "--overlay", VALUE },
	{ "--hide", VALUE },
	{ "--env", VALUE },
	{ "--net", VALUE },
	{ "--hostname", VALUE },
	{ "--chdir", VALUE },
	{ "--uid", VALUE },
	{ "--rootfs", VALUE },
	{ "--timeout", VALUE },
	{ "--limit", VALUE },
	{ "--allow-syscall", VALUE },
	{ "--deny-syscall", VALUE },
	{ "--explain", PYTHON },
	{ "--json", PYTHON },
	{ "--result", PYTHON },
	{ "--quiet", QUIET },
	{ "-q", QUIET },
	{ "--log-level", PYTHON },
	{ "--log-json", PYTHON },
	{ "--help", PYTHON },
	{ "-h", PYTHON },
};

/* The option that @word names, up to its `=`. */
static const struct option *option_find(const char *word)
{
	size_t size = strcspn(word, "=");
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strlen(options[i].name) == size &&
		    !memcmp(options[i].name, word, size))
			return &options[i];
	return NULL;
}

/**
 * sbx_is_quiet_word - @word is -q or --quiet
 */
int sbx_is_quiet_word(const char *word)
{
	const struct option *option = option_find(word);

	return option && option->kind == QUIET;
}

/* The words that the option at @words takes: 1, 2, or 0 to hand over. */
static size_t option_words(char *words[], struct sbx_arguments *arguments)
{
	const struct option *option = option_find(words[0]);
	const char *equals = strchr(words[0], '=');

	if (!option || option->kind == PYTHON)
		return 0;
	if (option->kind != VALUE) {
		if (option->kind == QUIET)
			arguments->is_quiet = 1;
		return equals ? 0 : 1;
	}
	if (equals)
		return equals[1] ? 1 : 0;
	if (!words[1] || !words[1][0] || !strcmp(words[1], "--") ||
	    option_find(words[1]))
		return 0;
	return 2;
}

/**
 * sbx_arguments_read - part the options from the command
 * @words: what follows `exec`, ends with NULL
 *
 * Context: pure.
 * Return: 0, or SBX_HANDOVER.
 */
int sbx_arguments_read(char *words[], struct sbx_arguments *arguments)
{
	char **at = words;

	memset(arguments, 0, sizeof(*arguments));
	arguments->options = words;
	while (*at && at[0][0] == '-' && at[0][1]) {
		size_t taken;

		if (!strcmp(*at, "--"))
			break;
		taken = option_words(at, arguments);
		if (!taken)
			return SBX_HANDOVER;
		at += taken;
	}
	arguments->option_count = (size_t)(at - words);
	if (*at && !strcmp(*at, "--"))
		at++;
	arguments->command = at;
	return *at ? 0 : SBX_HANDOVER;
}
