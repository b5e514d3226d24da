/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blob.h - builds plans and invocations for the C unit tests, well-formed or
 * not. Sizes are fixed: a test that outgrows them aborts.
 */
#ifndef SBX_TEST_BLOB_H
#define SBX_TEST_BLOB_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

#define BLOB_MAX 65536
#define BLOB_SECTIONS 32

/**
 * struct blob - a blob under construction
 * @bytes: the finished blob, after blob_finish(); aligned as malloc aligns
 * @size: its bytes
 * @pool: the string pool; offsets are known only when the blob is finished,
 *	so records hold offsets into the pool until then (see blob_string())
 */
struct blob {
	unsigned char *bytes;
	size_t size;
	char pool[4096];
	size_t pool_size;
	struct {
		uint32_t kind;
		uint32_t count;
		size_t size;
		unsigned char data[4096];
	} sections[BLOB_SECTIONS];
	size_t section_count;
	size_t pool_offset;
};

static inline void *blob_need(void *pointer)
{
	if (!pointer)
		abort();
	return pointer;
}

/* The pool comes right after the table, so its offset depends only on the
 * number of sections, which the caller states. */
static inline struct blob *blob_new(size_t sections)
{
	struct blob *blob = blob_need(calloc(1, sizeof(*blob)));

	blob->pool_offset = sizeof(struct sbx_header) +
			    (sections + 1) * sizeof(struct sbx_section);
	blob->pool_offset = (blob->pool_offset + 7) / 8 * 8;
	blob->pool_size = 1;
	return blob;
}

/* Return the offset that a record stores for @text. */
static inline uint32_t blob_string(struct blob *blob, const char *text)
{
	size_t at = blob->pool_size;
	size_t size = strlen(text) + 1;

	if (at + size > sizeof(blob->pool))
		abort();
	memcpy(blob->pool + at, text, size);
	blob->pool_size += size;
	return (uint32_t)(blob->pool_offset + at);
}

/* Add @count records of @size bytes each; return where they are kept. */
static inline void *blob_section(struct blob *blob, uint32_t kind,
				 uint32_t count, size_t size)
{
	size_t index = blob->section_count++;

	if (index >= BLOB_SECTIONS ||
	    count * size > sizeof(blob->sections[index].data))
		abort();
	blob->sections[index].kind = kind;
	blob->sections[index].count = count;
	blob->sections[index].size = count * size;
	return blob->sections[index].data;
}

static inline struct sbx_section *blob_table(struct blob *blob)
{
	return (struct sbx_section *)(blob->bytes + sizeof(struct sbx_header));
}

static inline struct sbx_header *blob_header(struct blob *blob)
{
	return (struct sbx_header *)blob->bytes;
}

/* Lay the blob out: header, table, pool, sections. */
static inline void blob_finish(struct blob *blob, uint32_t magic)
{
	struct sbx_section *table;
	size_t at = blob->pool_offset + blob->pool_size;
	size_t i;

	blob->bytes = blob_need(calloc(1, BLOB_MAX));
	table = blob_table(blob);
	table[0].kind = SBX_SECTION_STRINGS;
	table[0].count = (uint32_t)blob->pool_size;
	table[0].offset = (uint32_t)blob->pool_offset;
	table[0].size = (uint32_t)blob->pool_size;
	memcpy(blob->bytes + blob->pool_offset, blob->pool, blob->pool_size);
	for (i = 0; i < blob->section_count; i++) {
		at = (at + 7) / 8 * 8;
		if (at + blob->sections[i].size > BLOB_MAX)
			abort();
		table[i + 1].kind = blob->sections[i].kind;
		table[i + 1].count = blob->sections[i].count;
		table[i + 1].offset = (uint32_t)at;
		table[i + 1].size = (uint32_t)blob->sections[i].size;
		memcpy(blob->bytes + at, blob->sections[i].data,
		       blob->sections[i].size);
		at += blob->sections[i].size;
	}
	blob->size = at;
	blob_header(blob)->magic = magic;
	blob_header(blob)->version = SBX_FORMAT_VERSION;
	blob_header(blob)->size = (uint32_t)at;
	blob_header(blob)->section_count = (uint32_t)blob->section_count + 1;
}

static inline void blob_free(struct blob *blob)
{
	free(blob->bytes);
	free(blob);
}

#endif
