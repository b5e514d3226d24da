// SPDX-License-Identifier: Apache-2.0
/*
 * checksum.c - 64 bits that notice damage.
 *
 * Each step is a bijection of the state for a given word, and of the word for a
 * given state: two inputs that differ in one word end in different states. The
 * multiplier and the final mixing spread every bit over all others.
 */
#include <string.h>

#include "core.h"

#define STEP 0x9e3779b97f4a7c15ull	/* 2^64 / golden ratio, odd */
#define MIX 0xd6e8feb86659fd93ull	/* odd */

static uint64_t stir(uint64_t state, uint64_t word)
{
	state = (state ^ word) * STEP;
	return state ^ state >> 29;
}

uint64_t sbx_checksum(const void *data, size_t size, uint64_t seed)
{
	const unsigned char *at = data;
	uint64_t state = stir(seed, size);
	size_t left = size;
	uint64_t word;

	for (; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		state = stir(state, word);
	}
	if (left) {
		word = 0;
		memcpy(&word, at, left);
		state = stir(state, word);
	}
	state = (state ^ state >> 32) * MIX;
	state = (state ^ state >> 32) * MIX;
	return state ^ state >> 32;
}
