// SPDX-License-Identifier: Apache-2.0
/*
 * test_request.c - unit tests of the checker in csrc/request.c.
 *
 * As test_plan.c: a valid blob, one thing broken, one errno expected.
 */
#include <errno.h>

#include "blob.h"

static int failures;
static int checks;

static void expect(const char *name, int expected, int actual)
{
	checks++;
	if (expected == actual)
		return;
	failures++;
	printf("FAIL %s: expected %d, got %d\n", name, expected, actual);
}

static struct blob *invocation_new(struct sbx_fd_map **fds, uint32_t **slots,
				   struct sbx_invocation_core **core)
{
	struct blob *blob = blob_new(6);
	uint32_t *argv, *envp, *programs;

	*core = blob_section(blob, SBX_SECTION_INVOCATION, 1, sizeof(**core));
	(*core)->cwd = blob_string(blob, "/tmp");
	(*core)->terminal = -1;
	argv = blob_section(blob, SBX_SECTION_ARGV, 2, sizeof(*argv));
	argv[0] = blob_string(blob, "true");
	argv[1] = blob_string(blob, "\xff\xfe not UTF-8");
	envp = blob_section(blob, SBX_SECTION_ENVP, 1, sizeof(*envp));
	envp[0] = blob_string(blob, "TERM=dumb");
	programs = blob_section(blob, SBX_SECTION_PROGRAMS, 1,
				sizeof(*programs));
	programs[0] = blob_string(blob, "/usr/bin/true");
	*fds = blob_section(blob, SBX_SECTION_FDS, 2, sizeof(**fds));
	(*fds)[1].source = (*fds)[1].target = 1;
	*slots = blob_section(blob, SBX_SECTION_SLOTS, SBX_SLOT_COUNT,
			      sizeof(**slots));
	(*slots)[SBX_SLOT_CWD] = blob_string(blob, "/tmp");
	return blob;
}

#define BREAK_REQUEST(name, expected, fd_count, statement)                \
	do {                                                              \
		struct sbx_fd_map *fds;                                   \
		uint32_t *slots;                                          \
		struct sbx_invocation_core *core;                         \
		struct blob *blob = invocation_new(&fds, &slots, &core);  \
		struct sbx_error error;                                   \
		slots[SBX_SLOT_CWD] = 0;                                  \
		statement;                                                \
		blob_finish(blob, SBX_INVOCATION_MAGIC);                  \
		expect(name, expected,                                    \
		       sbx_request_check(blob->bytes, blob->size,         \
					 fd_count, &error));              \
		blob_free(blob);                                          \
	} while (0)

static void test_request_is_checked(void)
{
	BREAK_REQUEST("valid request", 0, 2, (void)fds);
	BREAK_REQUEST("fewer descriptors", -EINVAL, 1, (void)fds);
	BREAK_REQUEST("no descriptor", -EINVAL, 0, (void)fds);
	BREAK_REQUEST("flags of a request", -EINVAL, 2,
		      core->flags = SBX_INVOCATION_BARRIER);
	BREAK_REQUEST("slot of a request", -EINVAL, 2,
		      slots[SBX_SLOT_TMP] = blob_string(blob, "/tmp"));
	BREAK_REQUEST("source below 0", -EINVAL, 2, fds[0].source = -1);
	BREAK_REQUEST("no invocation", -EINVAL, 2, core->cwd = 0);
}

int main(void)
{
	test_request_is_checked();
	printf("%d checks, %d failures\n", checks, failures);
	return failures ? 1 : 0;
}
