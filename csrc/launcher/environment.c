// SPDX-License-Identifier: Apache-2.0
/*
 * environment.c - the command's environment and the paths of its program.
 *
 * The plan says which of the caller's variables pass and what is set, and this
 * applies it as sandbox/run/environment.py does, in the same order: the first
 * rule that yields a value for a name decides it, and of a name that the
 * caller has twice the first counts.
 */
#include <errno.h>
#include <string.h>

#include "invocation.h"

#define DEFAULT_PATH "/usr/bin:/bin"
#define CALLER_MAX 8192		/* variables; nobody has so many by intention */

struct variable {
	uint32_t offset;	/* NAME=VALUE in the pool */
	uint32_t name_size;
};

static int has_name(const struct sbx_draft *draft, const struct sbx_text *made,
		    const char *name, size_t size)
{
	const struct variable *all = (const struct variable *)made->data;
	size_t count = made->size / sizeof(*all);
	size_t i;

	for (i = 0; i < count; i++)
		if (all[i].name_size == size &&
		    !memcmp(draft->pool.data + all[i].offset, name, size))
			return 1;
	return 0;
}

static void variable_add(struct sbx_draft *draft, struct sbx_text *made,
			 const char *name, size_t size,
			 const char *const values[])
{
	struct variable one = {
		.offset = (uint32_t)draft->pool.size,
		.name_size = (uint32_t)size,
	};

	sbx_text_add(&draft->pool, name, size);
	sbx_text_add(&draft->pool, "=", 1);
	for (; *values; values++)
		sbx_text_string(&draft->pool, *values);
	sbx_text_add(&draft->pool, "", 1);
	sbx_text_add(made, &one, sizeof(one));
	sbx_text_add(&draft->envp, &one.offset, sizeof(one.offset));
}

static int name_matches(const char *name, size_t size, const char *pattern)
{
	size_t wanted = strlen(pattern);

	if (wanted && pattern[wanted - 1] == '*')
		return size >= wanted - 1 && !memcmp(name, pattern, wanted - 1);
	return size == wanted && !memcmp(name, pattern, wanted);
}

static void pass(struct sbx_draft *draft, struct sbx_text *made,
		 char *const caller[], const char *pattern)
{
	for (; *caller; caller++) {
		const char *equals = strchr(*caller, '=');
		size_t size = equals ? (size_t)(equals - *caller) : 0;

		if (equals && name_matches(*caller, size, pattern) &&
		    !has_name(draft, made, *caller, size)) {
			const char *const values[] = { equals + 1, NULL };

			variable_add(draft, made, *caller, size, values);
		}
	}
}

/* A value below a slot that the caller lacks is none. */
static void set(struct sbx_draft *draft, struct sbx_text *made,
		const char *name, uint32_t slot, const char *suffix)
{
	const char *head = slot == SBX_SLOT_NONE ? "" : draft->slots[slot];
	const char *const values[] = { head, suffix, NULL };

	if (slot != SBX_SLOT_NONE && !head[0])
		return;
	if (!has_name(draft, made, name, strlen(name)))
		variable_add(draft, made, name, strlen(name), values);
}

static int rules_apply(struct sbx_draft *draft, const struct sbx_view *plan,
		       char *const caller[], struct sbx_text *made)
{
	const struct sbx_env_rule *rules;
	size_t count, i;

	rules = sbx_records(plan, SBX_SECTION_ENV, &count);
	for (i = 0; i < count; i++) {
		const struct sbx_env_rule *rule = &rules[i];

		if (sbx_check_string(plan, rule->name, SBX_PLAN_MAX) < 0 ||
		    sbx_check_string(plan, rule->value, SBX_PLAN_MAX) < 0 ||
		    rule->value_slot >= SBX_SLOT_COUNT)
			return -EINVAL;
		if (rule->kind == SBX_ENV_ALLOW)
			pass(draft, made, caller, sbx_string(plan, rule->name));
		else
			set(draft, made, sbx_string(plan, rule->name),
			    rule->value_slot, sbx_string(plan, rule->value));
		if (made->failed || draft->pool.failed)
			return -ENOMEM;
	}
	return 0;
}

/* The value of PATH inside, as an offset into the pool; 0: it has none. */
static size_t path_value(const struct sbx_draft *draft,
			 const struct sbx_text *made)
{
	const struct variable *all = (const struct variable *)made->data;
	size_t count = made->size / sizeof(*all);
	size_t i;

	for (i = 0; i < count; i++)
		if (!strncmp(draft->pool.data + all[i].offset, "PATH=", 5))
			return all[i].offset + 5;
	return 0;
}

static void program_add(struct sbx_draft *draft, const char *folder,
			size_t size, const char *name)
{
	uint32_t offset = (uint32_t)draft->pool.size;

	sbx_text_add(&draft->pool, size ? folder : ".", size ? size : 1);
	sbx_text_add(&draft->pool, "/", 1);
	sbx_text_add(&draft->pool, name, strlen(name) + 1);
	sbx_text_add(&draft->programs, &offset, sizeof(offset));
}

/* Where to look for the program, as execvp(3) would. */
static void programs_make(struct sbx_draft *draft, const char *name,
			  size_t path)
{
	/* the pool moves while it grows: folders are read by offset */
	if (!name[0] || strchr(name, '/')) {
		sbx_draft_string(draft, &draft->programs, name);
		return;
	}
	if (!path) {
		path = draft->pool.size;
		sbx_text_add(&draft->pool, DEFAULT_PATH, sizeof(DEFAULT_PATH));
	}
	while (!draft->pool.failed) {
		char folder[PATH_MAX];
		size_t size = strcspn(draft->pool.data + path, ":");

		if (size >= sizeof(folder)) {
			draft->pool.failed = 1;
			return;
		}
		memcpy(folder, draft->pool.data + path, size);
		program_add(draft, folder, size, name);
		path += size;
		if (draft->pool.failed || !draft->pool.data[path])
			return;
		path++;
	}
}

/**
 * sbx_environment_make - fill in envp and programs of the draft
 * @plan: view of the plan
 * @caller: the caller's variables
 * @name: of the program
 *
 * Return: 0, or a negative errno.
 */
int sbx_environment_make(struct sbx_draft *draft, const struct sbx_view *plan,
			 char *const caller[], const char *name)
{
	struct sbx_text made = { 0 };
	size_t count = 0;
	int err;

	while (caller[count])
		count++;
	if (count > CALLER_MAX)
		return -E2BIG;
	err = rules_apply(draft, plan, caller, &made);
	if (!err)
		programs_make(draft, name, path_value(draft, &made));
	sbx_text_free(&made);
	return err;
}
