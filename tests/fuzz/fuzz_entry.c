// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_entry.c - libFuzzer target for entries of the plan cache.
 *
 * The promise under attack: whatever stands in the file, the launcher reads
 * nothing outside of it, and what it makes of an entry is an invocation that
 * passes its checker. The checksum is put right first, or no change would get
 * past it; facts are looked at, since that changes nothing.
 * With SBX_FUZZ_FILES the program has a main() that runs over the files it is
 * given.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/invocation.h"

static void checksum_mend(void *blob, size_t size)
{
	struct sbx_entry_core *core;
	struct sbx_error error;
	struct sbx_view view;
	size_t count;

	if (sbx_view_open(&view, blob, size, SBX_ENTRY_MAGIC, SBX_ENTRY_MAX,
			  &error) < 0)
		return;
	core = (void *)(uintptr_t)sbx_records(&view, SBX_SECTION_ENTRY_CORE,
					      &count);
	if (count != 1)
		return;
	core->uid = geteuid();
	core->gid = getegid();
	core->checksum = sbx_entry_checksum(
		blob, size, (size_t)((unsigned char *)core - view.base));
}

static void key_copy(const void *blob, size_t size, struct sbx_text *key)
{
	struct sbx_error error;
	struct sbx_view view;
	const void *bytes;
	size_t count;

	memset(key, 0, sizeof(*key));
	if (sbx_view_open(&view, blob, size, SBX_ENTRY_MAGIC, SBX_ENTRY_MAX,
			  &error) < 0)
		return;
	bytes = sbx_records(&view, SBX_SECTION_ENTRY_KEY, &count);
	sbx_text_add(key, bytes, count);
}

static void entry_use(const struct sbx_entry *entry)
{
	static char *const command[] = { "true", "-x", "", NULL };
	static char *const caller[] = { "PATH=/bin::/usr/bin", "A=1", "A=2",
					"LC_X=", "odd", "=", NULL };
	const struct sbx_fact *facts;
	struct sbx_error error;
	struct sbx_text made;
	size_t count;

	facts = sbx_records(&entry->view, SBX_SECTION_ENTRY_FACTS, &count);
	(void)sbx_facts_hold(facts, count, entry->view.base);
	if (sbx_invocation_make(entry, command, caller, &made) == 0 &&
	    sbx_invocation_check(made.data, made.size, &error) < 0 &&
	    error.err != ENAMETOOLONG)
		abort();
	sbx_text_free(&made);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	void *copy = malloc(size ? size : 1);
	struct sbx_entry entry;
	struct sbx_text key;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	checksum_mend(copy, size);
	key_copy(copy, size, &key);
	if (sbx_entry_judge(copy, size, &key, &entry) == 0)
		entry_use(&entry);
	sbx_text_free(&key);
	free(copy);
	return 0;
}

#ifdef SBX_FUZZ_FILES
static unsigned char buffer[SBX_ENTRY_MAX];

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		size_t size;

		if (!file) {
			perror(argv[i]);
			return 2;
		}
		size = fread(buffer, 1, sizeof(buffer), file);
		fclose(file);
		LLVMFuzzerTestOneInput(buffer, size);
	}
	printf("%d inputs walked\n", argc - 1);
	return 0;
}
#endif
