// SPDX-License-Identifier: Apache-2.0
/*
 * buffer.c - bytes that grow, and words for people.
 *
 * A failure sticks: callers add what they have and look once, at the end.
 */
#include <stdlib.h>
#include <string.h>

#include "launcher.h"

/**
 * sbx_text_add - append @size bytes
 *
 * Context: a failure is kept in @text.
 */
void sbx_text_add(struct sbx_text *text, const void *data, size_t size)
{
	if (text->failed)
		return;
	if (size > text->room - text->size) {
		size_t room = 2 * text->room + size + 4096;
		char *more = realloc(text->data, room);

		if (!more) {
			text->failed = 1;
			return;
		}
		text->data = more;
		text->room = room;
	}
	if (size)
		memcpy(text->data + text->size, data, size);
	text->size += size;
}

/**
 * sbx_text_string - append a string without its NUL
 */
void sbx_text_string(struct sbx_text *text, const char *string)
{
	sbx_text_add(text, string, strlen(string));
}

/**
 * sbx_text_free - give the memory back
 */
void sbx_text_free(struct sbx_text *text)
{
	free(text->data);
	memset(text, 0, sizeof(*text));
}

/**
 * sbx_say - write words to stderr, in one call
 * @words: ends with NULL
 *
 * Context: a message that does not fit is cut; one that nobody takes is lost,
 * without SIGPIPE: the exit code still says how the run ended.
 */
void sbx_say(const char *const words[])
{
	void (*previous)(int) = signal(SIGPIPE, SIG_IGN);
	char text[2 * PATH_MAX];
	size_t used = 0;

	for (; *words; words++) {
		size_t size = strlen(*words);

		if (size > sizeof(text) - used)
			size = sizeof(text) - used;
		memcpy(text + used, *words, size);
		used += size;
	}
	(void)!sbx_write_all(2, text, used);
	if (previous != SIG_ERR)
		signal(SIGPIPE, previous);
}
