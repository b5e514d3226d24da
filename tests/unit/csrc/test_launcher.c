// SPDX-License-Identifier: Apache-2.0
/*
 * test_launcher.c - unit tests of csrc/launcher: arguments, keys, interpreter,
 * environment, endings. Prints one line for each failure and a count; exit
 * code 1 on failure.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ending.h"
#include "launcher/invocation.h"

static int failures;
static int checks;

static void expect(const char *name, long expected, long actual)
{
	checks++;
	if (expected == actual)
		return;
	failures++;
	printf("FAIL %s: expected %ld, got %ld\n", name, expected, actual);
}

static void expect_text(const char *name, const char *expected,
			const char *actual)
{
	checks++;
	if (actual && !strcmp(expected, actual))
		return;
	failures++;
	printf("FAIL %s: expected %s, got %s\n", name, expected,
	       actual ? actual : "nothing");
}

/* The words of @line, which is cut at its spaces; at most 15. */
static char **split(char *line, char *words[16])
{
	size_t used = 0;
	char *at;

	for (at = strtok(line, " "); at && used < 15; at = strtok(NULL, " "))
		words[used++] = at;
	words[used] = NULL;
	return words;
}

static void expect_command(const char *text, const char *command, long options)
{
	struct sbx_arguments arguments;
	char line[256];
	char *words[16];
	int err;

	snprintf(line, sizeof(line), "%s", text);
	err = sbx_arguments_read(split(line, words), &arguments);
	expect(text, command ? 0 : SBX_HANDOVER, err);
	if (!command || err)
		return;
	expect_text(text, command, arguments.command[0]);
	expect(text, options, (long)arguments.option_count);
}

static void test_arguments_end_where_the_command_begins(void)
{
	expect_command("true", "true", 0);
	expect_command("-- true", "true", 0);
	expect_command("-q true", "true", 1);
	expect_command("--quiet -- -x", "-x", 1);
	expect_command("- x", "-", 0);
	expect_command("--policy strict true --json", "true", 2);
	expect_command("--policy=strict true", "true", 1);
	expect_command("--env A=B -q --ro /x -- ls -l", "ls", 5);
	expect_command("--hostname -x true", "true", 2);
	expect_command("-- -- x", "--", 0);
}

static void test_python_does_what_is_left(void)
{
	expect_command("", NULL, 0);
	expect_command("--", NULL, 0);
	expect_command("--policy strict", NULL, 0);
	expect_command("--policy", NULL, 0);
	expect_command("--policy -- true", NULL, 0);
	expect_command("--policy --ro true", NULL, 0);
	expect_command("--policy --ro=/x true", NULL, 0);
	expect_command("--policy= true", NULL, 0);
	expect_command("--quiet=1 true", NULL, 0);
	expect_command("--json true", NULL, 0);
	expect_command("--result x true", NULL, 0);
	expect_command("--explain", NULL, 0);
	expect_command("-h", NULL, 0);
	expect_command("-x true", NULL, 0);
	expect_command("--polic strict true", NULL, 0);
}

static void test_key_has_options_but_quiet(void)
{
	static const char wanted[] = "1\0/work/tree\0HOME=/home/u\0TMPDIR\0"
		"XDG_RUNTIME_DIR=/run/user/1000\0XDG_CACHE_HOME\0"
		"XDG_CONFIG_HOME\0XDG_STATE_HOME\0VIRTUAL_ENV=\0--policy\0"
		"strict\0--ro=/data";
	char line[] = "--policy strict -q --ro=/data --quiet -- true";
	struct sbx_arguments arguments;
	char name[SBX_NAME_SIZE];
	struct sbx_text key;
	char *words[16];

	clearenv();
	setenv("HOME", "/home/u", 1);
	setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
	setenv("VIRTUAL_ENV", "", 1);
	expect("words", 0, sbx_arguments_read(split(line, words), &arguments));
	expect("is quiet", 1, arguments.is_quiet);
	expect("key", 0, sbx_entry_key("/work/tree", &arguments, &key));
	expect("size of the key", sizeof(wanted) - 1, (long)key.size);
	expect("bytes of the key", 0, memcmp(key.data, wanted, key.size));
	sbx_entry_name(&key, name);
	/* as tests/golden/entry_key.txt has it */
	expect_text("name", "0dc47431a04c5aa3898f9c2587abcfe4", name);
	sbx_text_free(&key);
}

static void expect_interpreter(const char *text, const char *wanted)
{
	char head[512];

	snprintf(head, sizeof(head), "%s", text);
	if (wanted)
		expect_text(text, wanted, sbx_interpreter(head));
	else
		expect(text, 1, sbx_interpreter(head) == NULL);
}

static void test_interpreter_is_absolute_and_python(void)
{
	expect_interpreter("#!/v/bin/python3\nimport", "/v/bin/python3");
	expect_interpreter("#! /v/bin/python3.13 -sE\r\n", "/v/bin/python3.13");
	expect_interpreter("#!/opt/pypy/bin/pypy3\n", "/opt/pypy/bin/pypy3");
	expect_interpreter("#!/bin/sh\n'''exec' \"/a b/python\" \"$0\" \"$@\"\n",
			   "/a b/python");
	expect_interpreter("#!/bin/sh\n'''exec' /a/python \"$0\" \"$@\"\n",
			   "/a/python");
	expect_interpreter("#!/bin/sh\n'''exec' '/a b/python' \"$0\"\n",
			   "/a b/python");
	expect_interpreter("#!/usr/bin/env python3\n", NULL);
	expect_interpreter("#!/bin/sh\nexec python3\n", NULL);
	expect_interpreter("#!python3\n", NULL);
	expect_interpreter("#!bin/python3\n", NULL);
	expect_interpreter("#!/v/bin/python3", NULL);
	expect_interpreter("#!/bin/sh\n'''exec' \"/a b/python", NULL);
	expect_interpreter("import sys\n", NULL);
	expect_interpreter("", NULL);
}

static struct sbx_ending ended(int cause, int status)
{
	struct sbx_ending ending = {
		.cause = cause,
		.flags = SBX_ENDING_STATUS_KNOWN,
		.status = { .wait_status = status },
	};

	return ending;
}

static void test_endings_become_exit_codes(void)
{
	struct sbx_ending ending;

	ending = ended(SBX_CAUSE_NONE, 7 << 8);
	expect("exited", 7, sbx_ending_code(&ending));
	ending = ended(SBX_CAUSE_NONE, SIGTERM);
	expect("signalled", 128 + SIGTERM, sbx_ending_code(&ending));
	ending = ended(SBX_CAUSE_TIMEOUT, SIGTERM);
	expect("timeout", 124, sbx_ending_code(&ending));
	ending = ended(SBX_CAUSE_TIMEOUT, 0);
	expect("timeout, exited", 124, sbx_ending_code(&ending));
	ending = ended(SBX_CAUSE_MEMORY, SIGKILL);
	expect("memory", 137, sbx_ending_code(&ending));
	ending = ended(SBX_CAUSE_OUTPUT, 3 << 8);
	expect("output, exited", 3, sbx_ending_code(&ending));
	ending = ended(SBX_CAUSE_NONE, 0);
	ending.flags = 0;
	expect("no report", 137, sbx_ending_code(&ending));
}

int main(void)
{
	test_arguments_end_where_the_command_begins();
	test_python_does_what_is_left();
	test_key_has_options_but_quiet();
	test_interpreter_is_absolute_and_python();
	test_endings_become_exit_codes();
	printf("%d checks, %d failures\n", checks, failures);
	return failures ? 1 : 0;
}
