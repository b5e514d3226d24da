/*
 * abi.h - the boundary between Python and C.
 *
 * Read by the C compiler (through core.h) and, verbatim, by cffi: no #include,
 * no guard, only integer defines, enums, structs and prototypes.
 *
 * Plan, Invocation and cache Entry travel as blobs: one struct sbx_header, then
 * section_count struct sbx_section, then the sections. Native byte order.
 * Offsets are u32 from the start of the blob; every section starts on a
 * multiple of 8. String offsets point into the one STRINGS section, whose
 * first and last bytes are NUL; offset 0 means "no string".
 * docs/plan-format.md is the specification.
 */

#define SBX_PLAN_MAGIC 0x50584253
#define SBX_INVOCATION_MAGIC 0x49584253
#define SBX_FORMAT_VERSION 1
#define SBX_PLAN_MAX 1048576
#define SBX_INVOCATION_MAX 8388608
#define SBX_MOUNTS_MAX 8192
#define SBX_FDS_MAX 256
#define SBX_EXTENTS_MAX 64		/* of each map; a map is one write below 4 KiB */
#define SBX_NONE 0xffffffff

/* Sections. A kind stands at most once; unknown kinds are refused. */
enum sbx_section_kind {
	SBX_SECTION_STRINGS = 1,	/* bytes */
	SBX_SECTION_CORE = 2,		/* one struct sbx_plan_core */
	SBX_SECTION_IDMAPS = 3,		/* struct sbx_id_map */
	SBX_SECTION_MOUNTS = 4,		/* struct sbx_mount; plan or invocation */
	SBX_SECTION_RLIMITS = 5,	/* struct sbx_rlimit */
	SBX_SECTION_LANDLOCK = 6,	/* struct sbx_landlock_rule */
	SBX_SECTION_FILTERS = 7,	/* struct sbx_filter */
	SBX_SECTION_CODE = 8,		/* struct sock_filter, 8 bytes each */
	SBX_SECTION_ENV = 9,		/* struct sbx_env_rule (not used by C) */
	SBX_SECTION_PROTECT = 10,	/* struct sbx_protect (not used by C) */
	SBX_SECTION_NOTES = 11,		/* bytes, JSON, outside the digest */
	SBX_SECTION_RULES = 12,		/* bytes, JSON, outside the digest */
	SBX_SECTION_FINGERPRINT = 13,	/* bytes, JSON, outside the digest */
	SBX_SECTION_SUPERVISE = 14,	/* struct sbx_supervise (not used by C) */
	SBX_SECTION_INVOCATION = 20,	/* one struct sbx_invocation_core */
	SBX_SECTION_ARGV = 21,		/* u32 string offsets */
	SBX_SECTION_ENVP = 22,		/* u32 string offsets */
	SBX_SECTION_PROGRAMS = 23,	/* u32 string offsets: paths to try */
	SBX_SECTION_FDS = 24,		/* struct sbx_fd_map */
	SBX_SECTION_SLOTS = 25,		/* u32 string offsets, index = slot */
	SBX_SECTION_ENTRY_CORE = 40,	/* one struct sbx_entry_core */
	SBX_SECTION_ENTRY_KEY = 41,	/* bytes: what was asked for */
	SBX_SECTION_ENTRY_FACTS = 42,	/* struct sbx_fact */
	SBX_SECTION_ENTRY_PLAN = 43,	/* bytes: a plan */
	SBX_SECTION_ENTRY_INVOCATION = 44,	/* bytes: a template of one */
	SBX_SECTION_ENTRY_NOTES = 45,	/* u32 string offsets: lines for the user */
	SBX_SECTION_ENTRY_PLACEHOLDERS = 46,	/* struct sbx_placeholder */
};

/* A path is a slot's value followed by a suffix. Values come from the
 * Invocation and are absolute, canonical paths; a mount or a Landlock rule
 * below a slot without a value does not apply. */
enum sbx_slot {
	SBX_SLOT_NONE = 0,		/* the suffix is the absolute path */
	SBX_SLOT_CWD = 1,		/* the caller's working directory */
	SBX_SLOT_HOME = 2,		/* the caller's home */
	SBX_SLOT_TMP = 3,		/* the caller's $TMPDIR or /tmp */
	SBX_SLOT_RUNTIME = 4,		/* the caller's $XDG_RUNTIME_DIR */
	SBX_SLOT_STATE = 5,		/* a directory made for this run */
	SBX_SLOT_COUNT = 6,
};

#define SBX_PLAN_ROOT_READONLY 0x1	/* remount / read-only at the end */
#define SBX_PLAN_LOCK_USERNS 0x2	/* max_user_namespaces = 0 inside */
#define SBX_PLAN_LOOPBACK 0x4		/* set lo up */
#define SBX_PLAN_NO_NEW_PRIVS 0x8
#define SBX_PLAN_NEW_SESSION 0x10	/* setsid for the command */
#define SBX_PLAN_WAIT_ALL 0x20		/* wait for every process, not the first */
#define SBX_PLAN_LANDLOCK 0x40		/* enforce the LANDLOCK section */
#define SBX_PLAN_ZERO_CLOCKS 0x80	/* time namespace: clocks start at 0 */
#define SBX_PLAN_LOCK_OPTIONAL 0x400	/* LOCK_USERNS: a read-only /proc/sys is noted */
#define SBX_PLAN_FLAGS_ALL 0x4ff

enum sbx_root_kind {
	SBX_ROOT_TMPFS = 0,		/* an empty tmpfs of root_size_bytes */
	SBX_ROOT_BIND = 1,		/* root_source, bound */
	SBX_ROOT_OVERLAY = 2,		/* root_source below; upper: tmpfs or root_upper */
};

struct sbx_header {
	uint32_t magic;
	uint32_t version;
	uint32_t size;			/* of the whole blob, bytes */
	uint32_t section_count;
};

struct sbx_section {
	uint32_t kind;			/* enum sbx_section_kind */
	uint32_t count;			/* records (bytes for byte sections) */
	uint32_t offset;		/* from the start of the blob */
	uint32_t size;			/* bytes: count * record size */
};

struct sbx_plan_core {
	uint64_t flags;			/* SBX_PLAN_* */
	uint64_t namespaces;		/* CLONE_NEW* bits */
	uint64_t caps;			/* capability bits kept by the command */
	uint64_t securebits;		/* prctl(PR_SET_SECUREBITS) */
	uint64_t root_size_bytes;
	uint64_t landlock_fs;		/* handled_access_fs */
	uint64_t landlock_net;		/* handled_access_net */
	uint64_t landlock_scoped;
	uint32_t uid;			/* of the command, inside */
	uint32_t gid;
	uint32_t hostname;		/* string, 0: keep */
	uint32_t root_kind;		/* enum sbx_root_kind */
	uint32_t root_source_slot;
	uint32_t root_source;		/* string */
	uint32_t landlock_min_abi;
	int32_t proof_nr;		/* a call that the filter answers … */
	int32_t proof_errno;		/* … with this errno; 0: no proof */
	uint32_t umask_octal;		/* SBX_NONE: the caller's */
	uint32_t root_upper_slot;	/* OVERLAY: 0 = a tmpfs of root_size_bytes */
	uint32_t root_upper;		/* string: a directory for upper/ and work/ */
};

enum sbx_id_kind {
	SBX_ID_UID = 0,
	SBX_ID_GID = 1,
};

struct sbx_id_map {
	uint32_t kind;			/* enum sbx_id_kind */
	uint32_t inside;
	uint32_t outside;
	uint32_t count;
};

enum sbx_mount_kind {
	SBX_MOUNT_BIND = 1,		/* source -> target, with attrs */
	SBX_MOUNT_SELF = 2,		/* target onto itself with attrs: pin, make ro */
	SBX_MOUNT_TMPFS = 3,		/* size_bytes, inodes, mode_octal */
	SBX_MOUNT_PROC = 4,		/* data: "" or "pid" (subset=) */
	SBX_MOUNT_DEV = 5,		/* a device node bound: source -> target */
	SBX_MOUNT_DEVPTS = 6,		/* an own instance */
	SBX_MOUNT_OVERLAY = 7,		/* lower = source; upper: tmpfs or upper slot */
	SBX_MOUNT_MKDIR = 8,		/* mode_octal */
	SBX_MOUNT_FILE = 9,		/* data = content, mode_octal; read-only */
	SBX_MOUNT_SYMLINK = 10,		/* target -> data */
	SBX_MOUNT_MASK = 11,		/* file: /dev/null; directory: empty tmpfs */
	SBX_MOUNT_MQUEUE = 12,		/* an own instance */
};

#define SBX_MOUNT_OPTIONAL 0x1		/* no source (SELF, MASK: no target): skip */
#define SBX_MOUNT_RECURSIVE 0x2		/* with what is mounted below */
#define SBX_MOUNT_IDMAP 0x4		/* idmapped where the caller is root */
#define SBX_MOUNT_FALLBACK_BIND 0x8	/* PROC: bind the caller's, read-only */
#define SBX_MOUNT_FOLLOW 0x10		/* the source may be a symbolic link */
#define SBX_MOUNT_FLAGS_ALL 0x1f

struct sbx_mount {
	uint32_t kind;			/* enum sbx_mount_kind */
	uint32_t flags;			/* SBX_MOUNT_OPTIONAL … */
	uint64_t attrs;			/* MOUNT_ATTR_* set on the new mount */
	uint64_t size_bytes;		/* TMPFS, OVERLAY's tmpfs; 0: none given */
	uint32_t source_slot;
	uint32_t source;		/* string */
	uint32_t target_slot;
	uint32_t target;		/* string */
	uint32_t upper_slot;		/* OVERLAY: 0 = a tmpfs of size_bytes */
	uint32_t upper;			/* string: a directory with upper/ and work/ */
	uint32_t data;			/* offset of bytes in STRINGS */
	uint32_t data_size;		/* bytes, without the final NUL */
	uint32_t mode_octal;
	uint32_t inodes;		/* TMPFS: nr_inodes, 0: none given */
};

struct sbx_rlimit {
	uint32_t resource;		/* RLIMIT_* */
	uint32_t reserved;
	uint64_t soft;			/* RLIM_INFINITY = ~0 */
	uint64_t hard;
};

#define SBX_LANDLOCK_OPTIONAL 0x1	/* the path may be absent */

enum sbx_landlock_kind {
	SBX_LANDLOCK_PATH = 1,
	SBX_LANDLOCK_PORT = 2,
};

struct sbx_landlock_rule {
	uint64_t access;
	uint32_t kind;			/* enum sbx_landlock_kind */
	uint32_t flags;
	uint32_t path_slot;
	uint32_t path;			/* string, a path inside */
	uint32_t port;
	uint32_t reserved;
};

#define SBX_FILTER_NOTIFY 0x8		/* SECCOMP_FILTER_FLAG_NEW_LISTENER; on a lone filter */
#define SBX_FILTER_NOTIFY_REQUIRED 0x10000	/* no listener: fail, instead of plain errnos */
#define SBX_FILTER_FLAGS_ALL 0x10008

struct sbx_filter {
	uint32_t first;			/* index into CODE */
	uint32_t count;			/* instructions, 1 … 4096 */
	uint32_t flags;			/* SBX_FILTER_* */
	uint32_t reserved;
};

enum sbx_env_kind {
	SBX_ENV_ALLOW = 1,		/* name (a final * matches the rest) passes */
	SBX_ENV_SET = 2,		/* name = value, unless allowed and present */
};

struct sbx_env_rule {
	uint32_t kind;			/* enum sbx_env_kind */
	uint32_t name;			/* string */
	uint32_t value_slot;
	uint32_t value;			/* string */
};

enum sbx_protect_kind {
	SBX_PROTECT_READONLY = 1,
	SBX_PROTECT_HIDDEN = 2,
	SBX_PROTECT_PRESENT = 3,	/* read-only where it exists */
};

struct sbx_protect {
	uint32_t kind;			/* enum sbx_protect_kind */
	uint32_t flags;			/* reserved, 0 */
	uint32_t path_slot;		/* the writable root it lies below */
	uint32_t path;			/* string */
};

enum sbx_supervise_key {
	SBX_SUPERVISE_WALL_MS = 1,
	SBX_SUPERVISE_OUTPUT_BYTES = 2,
	SBX_SUPERVISE_TERM_GRACE_MS = 3,
	SBX_SUPERVISE_MEMORY_BYTES = 4,	/* resident, summed over the tree */
	SBX_SUPERVISE_GROUP_MEMORY_BYTES = 5,	/* these four: of the run's cgroup */
	SBX_SUPERVISE_GROUP_SWAP_BYTES = 6,
	SBX_SUPERVISE_GROUP_PIDS = 7,
	SBX_SUPERVISE_GROUP_CPU_MS = 8,
};

/* Limits that the supervisor keeps. */
struct sbx_supervise {
	uint32_t key;			/* enum sbx_supervise_key */
	uint32_t reserved;
	uint64_t value;
};

struct sbx_invocation_core {
	uint32_t cwd;			/* string: a path inside */
	uint32_t flags;			/* SBX_INVOCATION_* */
	int32_t terminal;		/* TERMINAL: the caller's, whose modes are copied */
	uint32_t requests;		/* SERVE: the socket that brings them; else 0 */
};

#define SBX_INVOCATION_BARRIER 0x1	/* wait for 'G' before the last stages */
#define SBX_INVOCATION_HOLD 0x2		/* the caller of sbx_spawn writes 'M' … */
#define SBX_INVOCATION_MAPS_OUTSIDE 0x4	/* … and has the id maps written first */
#define SBX_INVOCATION_TERMINAL 0x8	/* a pseudo-terminal of its own */
#define SBX_INVOCATION_FOREGROUND 0x10	/* TERMINAL: the command may read it at once */
#define SBX_INVOCATION_SERVE 0x20	/* no command yet: each comes as a request */
#define SBX_INVOCATION_ONCE 0x40	/* SERVE: one, whose end is the sandbox's */
#define SBX_INVOCATION_FILTER_FIRST 0x80	/* SERVE: the filter allows what a request needs */
#define SBX_INVOCATION_FLAGS_ALL 0xff

#define SBX_FD_TERMINAL -2		/* as a source: the command's own terminal */

struct sbx_fd_map {
	int32_t source;			/* a descriptor of the caller, or SBX_FD_TERMINAL */
	int32_t target;			/* its number for the command */
};

/* Where a failure happened; the order is the order of execution. */
enum sbx_stage {
	SBX_STAGE_NONE = 0,
	SBX_STAGE_CHECK = 1,		/* the blobs are malformed */
	SBX_STAGE_SOURCES = 2,		/* parent: sources opened with privilege */
	SBX_STAGE_CLONE = 3,
	SBX_STAGE_MAPS = 4,
	SBX_STAGE_USERNS_LOCK = 5,
	SBX_STAGE_TIMENS = 6,
	SBX_STAGE_HOSTNAME = 7,
	SBX_STAGE_LOOPBACK = 8,
	SBX_STAGE_MOUNTS = 9,
	SBX_STAGE_PIVOT = 10,
	SBX_STAGE_TERMINAL = 11,
	SBX_STAGE_INIT = 12,
	SBX_STAGE_SESSION = 13,
	SBX_STAGE_CHDIR = 14,
	SBX_STAGE_RLIMITS = 15,
	SBX_STAGE_CAPS = 16,
	SBX_STAGE_NO_NEW_PRIVS = 17,
	SBX_STAGE_FDS = 18,
	SBX_STAGE_LANDLOCK = 19,
	SBX_STAGE_SECCOMP = 20,
	SBX_STAGE_EXEC = 21,
	SBX_STAGE_COUNT = 22,
};

/* Written by the child to error_fd before it ends; also filled in by the
 * parent's own failures and by the checkers (op = offset of the defect). */
struct sbx_error {
	int32_t stage;			/* enum sbx_stage */
	int32_t op;			/* index of the record, or -1 */
	int32_t err;			/* errno, positive */
	int32_t detail;			/* stage specific; see each stage */
};

/* detail of SBX_STAGE_MOUNTS and SOURCES: which part of the op */
enum sbx_mount_part {
	SBX_PART_NONE = 0,
	SBX_PART_SOURCE = 1,		/* opening or cloning the source */
	SBX_PART_TARGET = 2,		/* resolving or making the target */
	SBX_PART_CREATE = 3,		/* fsopen, fsconfig, fsmount */
	SBX_PART_ATTRS = 4,		/* mount_setattr */
	SBX_PART_ATTACH = 5,		/* move_mount */
	SBX_PART_IDMAP = 6,		/* mount_setattr(MOUNT_ATTR_IDMAP) */
	SBX_PART_CONTENT = 7,		/* writing a file, a directory, a link */
	SBX_PART_ROOT = 8,		/* the root itself */
	SBX_PART_INVOCATION = 0x100,	/* flag: op indexes the invocation's mounts */
};

/* detail of SBX_STAGE_MAPS */
enum sbx_maps_detail {
	SBX_MAPS_IDS = 0,
	SBX_MAPS_GROUP_JOIN = 1,	/* not by C: moving the child into its cgroup */
	SBX_MAPS_GROUP_NAMESPACE = 2,	/* unshare(CLONE_NEWCGROUP) */
};

/* detail of SBX_STAGE_EXEC */
enum sbx_exec_detail {
	SBX_EXEC_PLAIN = 0,
	SBX_EXEC_NO_INTERPRETER = 1,	/* the file is there, its loader or #! is not */
	SBX_EXEC_IS_DIRECTORY = 2,
};

struct sbx_child {
	int32_t pid;			/* pid 1 of the sandbox, seen from outside */
	int32_t pidfd;
	int32_t control_fd;		/* write: 'G' opens the barrier; closing it ends all */
	int32_t error_fd;		/* read: struct sbx_error, or EOF = started */
	int32_t status_fd;		/* read: struct sbx_status when the command ended */
	int32_t handover_fd;		/* for sbx_terminal_receive() and then
					 * sbx_listener_receive(); -1: for neither */
};

#define SBX_DEGRADED_PROC_BIND 0x1	/* the caller's /proc is bound read-only */
#define SBX_DEGRADED_USERNS_LOCK 0x2	/* /proc/sys is read-only: the filter alone */

/* Written by pid 1 to status_fd when the command ended; with a terminal also
 * each time it stops, and then the usage is 0. */
struct sbx_status {
	int32_t wait_status;		/* of the command, as waitpid(2) */
	int32_t command_pid;		/* inside */
	uint64_t user_us;		/* all reaped processes of the sandbox */
	uint64_t system_us;
	uint64_t max_rss_kib;
	uint64_t switches;		/* voluntary and not */
	uint32_t degraded;		/* SBX_DEGRADED_* */
	uint32_t reserved;
};

/*
 * Check a plan / an invocation: bounds, alignment, NUL, ranges. Pure.
 * Return 0, or a negative errno with *error filled in.
 */
int sbx_plan_check(const void *plan, size_t size, struct sbx_error *error);
int sbx_invocation_check(const void *invocation, size_t size,
			 struct sbx_error *error);

/*
 * Start the invocation behind the walls of the plan. Returns once the child
 * has its id maps; whether the command started is read from child->error_fd.
 * Under SBX_INVOCATION_HOLD the child waits until the caller has moved it into
 * its cgroup (and, under MAPS_OUTSIDE, had its maps written by the helpers of
 * subuid(5)) and writes 'M' to child->control_fd.
 * Thread-safe; the caller owns the descriptors in *child.
 * Return 0, or a negative errno with *error filled in and nothing left over.
 */
int sbx_spawn(const void *plan, size_t plan_size,
	      const void *invocation, size_t invocation_size,
	      struct sbx_child *child, struct sbx_error *error);

/*
 * Take the master of the command's terminal from child->handover_fd; once the
 * command has started it is there.
 * Return the descriptor, or a negative errno (-EPIPE: the child sent none).
 */
int sbx_terminal_receive(int socket);

/* Kernel features, tried, not guessed from version numbers. */
int sbx_landlock_abi(void);		/* ABI >= 1, or a negative errno */
int sbx_seccomp_action_avail(uint32_t action);	/* 0, or a negative errno */
int sbx_is_privileged(void);		/* 1: CAP_SYS_ADMIN, SETUID, SETGID effective */

/* Make this process the parent of what its descendants leave behind. */
int sbx_orphans_adopt(void);		/* 0, or a negative errno */
