// SPDX-License-Identifier: Apache-2.0
/*
 * bpf_run.c - what a seccomp program answers to one call.
 *
 * Pure: no system call, no allocation, no state. The supervisor asks it for
 * the errno of a refused call, the child whether a call of its own would
 * pass. The program was not written here and is trusted in nothing: every
 * index is checked where it is used, and since a jump only leads forward, a
 * run ends. Attacked by tests/fuzz.
 * Knows the instructions that the filter compiler writes
 * (sandbox/policy/simulate.py has the same), and refuses the rest.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>

#include "notify.h"

static int word_load(const struct seccomp_data *data, uint32_t offset,
		     uint32_t *word)
{
	if (offset % sizeof(*word) || offset > sizeof(*data) - sizeof(*word))
		return -EINVAL;
	memcpy(word, (const unsigned char *)data + offset, sizeof(*word));
	return 0;
}

/* Whether a conditional jump is taken; -EINVAL for another instruction. */
static int jump_test(uint16_t code, uint32_t word, uint32_t value)
{
	switch (code) {
	case BPF_JMP | BPF_JEQ | BPF_K:
		return word == value;
	case BPF_JMP | BPF_JGT | BPF_K:
		return word > value;
	case BPF_JMP | BPF_JGE | BPF_K:
		return word >= value;
	case BPF_JMP | BPF_JSET | BPF_K:
		return (word & value) != 0;
	default:
		return -EINVAL;
	}
}

/**
 * sbx_bpf_run - run a program over one call
 * @value: SECCOMP_RET_*
 * Context: any; pure.
 * Return: 0, or -EINVAL for a program that does not answer.
 */
int sbx_bpf_run(const struct sock_filter *code, size_t count,
		const struct seccomp_data *data, uint32_t *value)
{
	uint32_t word = 0;
	size_t at = 0;

	while (at < count) {
		const struct sock_filter *now = &code[at++];
		int is_taken;

		switch (now->code) {
		case BPF_RET | BPF_K:
			*value = now->k;
			return 0;
		case BPF_LD | BPF_W | BPF_ABS:
			if (word_load(data, now->k, &word) < 0)
				return -EINVAL;
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			word &= now->k;
			continue;
		case BPF_JMP | BPF_JA:
			if (now->k >= count - at)
				return -EINVAL;
			at += now->k;
			continue;
		default:
			break;
		}
		is_taken = jump_test(now->code, word, now->k);
		if (is_taken < 0)
			return -EINVAL;
		at += is_taken ? now->jt : now->jf;
	}
	return -EINVAL;
}
