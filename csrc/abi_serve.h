/*
 * abi_serve.h - what a sandbox that serves is asked for.
 *
 * A part of the boundary, read after abi.h by the same readers: no #include,
 * no guard, only integer defines, structs and prototypes.
 */

/*
 * SERVE: what a sandbox is asked for, one message of a SOCK_SEQPACKET socket:
 * this record, then an invocation without flags, slots and mounts (or, under
 * FILE, its descriptor). With it descriptors, in this order:
 *   error   a pipe: one struct sbx_error, or end of file at exec
 *   [reply] not under ONCE: a SOCK_SEQPACKET socket. Up comes one struct
 *           sbx_status when the command ended; down go signals, one int32_t
 *           each. Shutting it down kills the command. Where pid 1 itself
 *           ended the command, `reserved` of the status is SBX_CAUSE_TIMEOUT.
 *   [blob]  under FILE: a memory file with the invocation
 *   …       the command's; a source in the invocation's FDS is an index here
 */
struct sbx_request {
	uint32_t magic;			/* SBX_REQUEST_MAGIC */
	uint32_t flags;			/* SBX_REQUEST_* */
	uint32_t size;			/* of the invocation, bytes */
	uint32_t fd_count;		/* of the command's descriptors */
	uint32_t timeout_ms;		/* not under ONCE; 0: none. Then TERM, and … */
	uint32_t grace_ms;		/* … KILL so much later */
};

#define SBX_REQUEST_MAGIC 0x51584253
#define SBX_REQUEST_FILE 0x1		/* the invocation is in a file */
#define SBX_REQUEST_INLINE_MAX 65536	/* bytes; above it, FILE */
#define SBX_REQUEST_FDS_MAX 250		/* SCM_MAX_FD, less what comes before */
#define SBX_COMMANDS_MAX 256		/* of one sandbox at a time */

/* The same for the invocation of a request that brings @fd_count descriptors. */
int sbx_request_check(const void *invocation, size_t size, uint32_t fd_count,
		      struct sbx_error *error);
