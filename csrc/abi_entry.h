/*
 * abi_entry.h - entries of the plan cache: a prepared request and its facts.
 *
 * A part of the boundary, read after abi.h by the same readers: no #include,
 * no guard, only integer defines, enums, structs and prototypes.
 */

#define SBX_ENTRY_MAGIC 0x45584253
#define SBX_ENTRY_MAX 4194304
#define SBX_FACTS_MAX 4096
#define SBX_GROUP_LEAVES_MAX 8

#define SBX_ENTRY_TTY_RELAY 0x1	/* a command on a terminal gets one of its own */
#define SBX_ENTRY_FLAGS_ALL 0x1

/* A request that was prepared once, and what must still hold to use it again. */
struct sbx_entry_core {
	uint64_t checksum;		/* sbx_entry_checksum() of the blob */
	uint32_t uid;			/* effective ids of the caller */
	uint32_t gid;
	uint32_t flags;			/* SBX_ENTRY_* */
	uint32_t version;		/* string: of the package */
	uint32_t policy;		/* string: its name */
	uint32_t reserved;		/* 0 */
};

struct sbx_placeholder {
	uint32_t inside;		/* string: a protected path that is absent */
	uint32_t host;			/* string: where it would be made on the host */
};

/* How the control groups of a run are made, in this order. */
enum sbx_group_step_kind {
	SBX_GROUP_FOLDER = 1,		/* text: the directory of journals; the first */
	SBX_GROUP_LEAF = 2,		/* text: a group, in which the run gets one */
	SBX_GROUP_WRITE = 3,		/* text: a file of the leaf before; value */
};

/* flags of a LEAF: what of the run is held or counted there */
#define SBX_GROUP_V2 0x1		/* else v1 */
#define SBX_GROUP_MEMORY 0x2
#define SBX_GROUP_PIDS 0x4
#define SBX_GROUP_CPU 0x8		/* processor time is counted */
#define SBX_GROUP_QUOTA 0x10
#define SBX_GROUP_SHARE_ONLY 0x20	/* no limit: it may stay empty */
#define SBX_GROUP_LEAF_FLAGS_ALL 0x3f
/* flags of a WRITE */
#define SBX_GROUP_OPTIONAL 0x1		/* older kernels lack the file */
#define SBX_GROUP_WITHIN 0x2		/* EINVAL: a group further up holds less */
#define SBX_GROUP_WRITE_FLAGS_ALL 0x3

struct sbx_group_step {
	uint32_t kind;			/* enum sbx_group_step_kind */
	uint32_t flags;
	uint32_t text;			/* string */
	uint32_t value;			/* string */
};

/* What was seen on the way; value[] by kind. */
enum sbx_fact_kind {
	SBX_FACT_ABSENT = 1,		/* lstat: ENOENT or ENOTDIR; or the errno [0] */
	SBX_FACT_FILE = 2,		/* stat: dev, ino, size, mtime, ctime (ns),
					 * mode << 32 | uid */
	SBX_FACT_KIND = 3,		/* lstat: the type (S_IFMT bits) */
	SBX_FACT_CONTENT = 4,		/* checksum and size of the first 64 KiB */
	SBX_FACT_SAME = 5,		/* stat: dev, ino */
	SBX_FACT_ACCESS = 6,		/* access(path, [0]): [1] = 1 granted, 0 not */
	SBX_FACT_LINK = 7,		/* checksum and size of readlink */
	SBX_FACT_OWNER = 8,		/* stat: uid */
	SBX_FACT_PROBE = 9,		/* enum sbx_probe [0] with [1] answers [2];
					 * no path */
	SBX_FACT_CGROUP_MOUNTS = 10,	/* a mountinfo's lines about control groups:
					 * chained checksum, number */
};

enum sbx_probe {
	SBX_PROBE_PRIVILEGED = 1,	/* sbx_is_privileged() */
	SBX_PROBE_LANDLOCK = 2,		/* sbx_landlock_abi() */
	SBX_PROBE_SECCOMP = 3,		/* sbx_seccomp_action_avail([1]) */
	SBX_PROBE_RLIMIT = 4,		/* the hard limit of RLIMIT_* [1] */
	SBX_PROBE_TMPFS_XATTR = 5,	/* 0, or the errno of user xattrs on tmpfs */
	SBX_PROBE_COUNT = 6,
};

struct sbx_fact {
	uint32_t kind;			/* enum sbx_fact_kind */
	uint32_t path;			/* string, absolute */
	uint64_t value[6];
};

/*
 * A checksum of 64 bits, made to notice damage and to name files, not to resist
 * an adversary. One changed word of 8 bytes always changes it.
 */
uint64_t sbx_checksum(const void *data, size_t size, uint64_t seed);

/*
 * Check a cache entry: bounds, strings, numbers, its checksum; its plan and its
 * invocation are checked as far as reading them needs. Pure. Size and version
 * are judged as those of plans; -EBADMSG where the checksum differs.
 * Return 0, or a negative errno with *error filled in.
 */
int sbx_entry_check(const void *entry, size_t size, struct sbx_error *error);

/* The checksum of an entry whose core record begins at `core`. */
uint64_t sbx_entry_checksum(const void *entry, size_t size, size_t core);

/*
 * Look whether the facts hold now. Their paths are offsets from `base`, and
 * checked. Return `count` where all hold, else the index of the first that
 * does not.
 */
size_t sbx_facts_hold(const struct sbx_fact *facts, size_t count,
		      const void *base);
