// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_bpf.c - libFuzzer target for the interpreter of seccomp programs.
 *
 * An input is struct seccomp_data and then instructions. The promise under
 * attack: whatever the program is, a run reads nothing beside the two, ends,
 * and says the same twice. Both are copied into allocations of their exact
 * size, so that a sanitizer sees a read of one byte too many.
 * With SBX_FUZZ_FILES the program has a main() as fuzz_plan.c has.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notify.h"

#define PROGRAM_MAX 4096

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	size_t count = size < sizeof(struct seccomp_data) ? 0 :
		(size - sizeof(struct seccomp_data)) / sizeof(struct sock_filter);
	struct seccomp_data *call = calloc(1, sizeof(*call));
	struct sock_filter *code;
	uint32_t first = 0, second = 0;
	int answer;

	if (count > PROGRAM_MAX)
		count = PROGRAM_MAX;
	code = malloc(count ? count * sizeof(*code) : 1);
	if (!call || !code)
		abort();
	memcpy(call, data, size < sizeof(*call) ? size : sizeof(*call));
	if (count)
		memcpy(code, data + sizeof(*call), count * sizeof(*code));
	answer = sbx_bpf_run(code, count, call, &first);
	if (sbx_bpf_run(code, count, call, &second) != answer || first != second)
		abort();
	free(code);
	free(call);
	return 0;
}

#ifdef SBX_FUZZ_FILES
static unsigned char buffer[SBX_INVOCATION_MAX];

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
	printf("%d inputs run\n", argc - 1);
	return 0;
}
#endif
