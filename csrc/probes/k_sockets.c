// SPDX-License-Identifier: Apache-2.0
/*
 * k_sockets.c - group K: socket families, protocols, and who can be reached.
 *
 * Sockets are made and closed. Connections go to listeners of the test on the
 * host's loopback; addresses elsewhere are only looked up by connect(2) on a
 * datagram socket, which sends nothing.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAMILIES 46

static const char *const family_names[FAMILIES] = {
	[AF_UNIX] = "unix",	  [AF_INET] = "inet",
	[AF_INET6] = "inet6",	  [AF_NETLINK] = "netlink",
	[AF_PACKET] = "packet",	  [AF_RDS] = "rds",
	[AF_CAN] = "can",	  [AF_TIPC] = "tipc",
	[AF_BLUETOOTH] = "bluetooth", [AF_RXRPC] = "rxrpc",
	[AF_ALG] = "alg",	  [AF_VSOCK] = "vsock",
	[44] = "xdp",
};

static void family_name(int family, char *name, size_t size)
{
	if (family_names[family])
		snprintf(name, size, "%s", family_names[family]);
	else
		snprintf(name, size, "family-%d", family);
}

/**
 * family_code - whether a family can be had in any usual type
 * @family: AF_*
 *
 * Return: 0, or the errno of the last attempt. A type that the family does not
 * have says ESOCKTNOSUPPORT or EPROTONOSUPPORT, which is no refusal of it.
 */
static int family_code(int family)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_RAW,
				     SOCK_SEQPACKET };
	int fd = -1, code = 0;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		fd = socket(family, types[i] | SOCK_CLOEXEC, 0);
		code = errno_of(fd);
		if (fd >= 0)
			close(fd);
		if (code != ESOCKTNOSUPPORT && code != EPROTONOSUPPORT)
			break;
	}
	return code;
}

static bool is_listed(const char *name, int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return false;
}

/** k01 - every family; arguments: those that the policy allows */
static void k01(struct report *report, int argc, char **argv)
{
	char name[PROBE_NAME_MAX];
	int code;

	for (int family = 0; family < FAMILIES; family++) {
		family_name(family, name, sizeof(name));
		code = family_code(family);
		if (is_listed(name, argc, argv)) {
			errno = code;
			report_works(report, name, code ? -1 : 0);
		} else {
			report_code(report, name, code);
		}
	}
}

static void try_socket(struct report *report, const char *name, int family,
		       int type, int protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC, protocol);

	report_attempt(report, name, fd, 0);
	if (fd >= 0)
		close(fd);
}

/** k03 - protocols beside TCP and UDP */
static void k03(struct report *report, int argc, char **argv)
{
	const int mptcp = 262, sctp = 132, dccp = 33, dccp_type = 6;

	(void)argc;
	(void)argv;
	try_socket(report, "mptcp", AF_INET, SOCK_STREAM, mptcp);
	try_socket(report, "sctp", AF_INET, SOCK_STREAM, sctp);
	try_socket(report, "sctp6", AF_INET6, SOCK_SEQPACKET, sctp);
	try_socket(report, "dccp", AF_INET, dccp_type, dccp);
	try_socket(report, "udplite", AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
	try_socket(report, "raw-icmp", AF_INET, SOCK_RAW, IPPROTO_ICMP);
	try_socket(report, "raw-icmp6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
}

/** k04 - netlink, the way to packet filters, queues and routes */
static void k04(struct report *report, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	try_socket(report, "route", AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	try_socket(report, "netfilter", AF_NETLINK, SOCK_RAW,
		   NETLINK_NETFILTER);
	try_socket(report, "xfrm", AF_NETLINK, SOCK_RAW, NETLINK_XFRM);
	try_socket(report, "generic", AF_NETLINK, SOCK_DGRAM,
		   NETLINK_GENERIC);
}

static int connect_inet(int type, const char *address, long port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port) };
	int fd, code;

	inet_pton(AF_INET, address, &to.sin_addr);
	fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	code = errno_of(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	close(fd);
	return code;
}

static int connect_inet6(long port)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)port),
				   .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd, code;

	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	code = errno_of(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	close(fd);
	return code;
}

static bool has_interface_beside_lo(struct report *report)
{
	FILE *file = fopen("/proc/self/net/dev", "re");
	bool is_found = false;
	char line[512], name[64];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, " %63[^: ]:", name) != 1 ||
		    !strchr(line, ':') || strcmp(name, "lo") == 0)
			continue;
		report_note(report, "%s", name);
		is_found = true;
	}
	if (!file)
		report_note(report, "/proc/self/net/dev cannot be read");
	else
		fclose(file);
	return is_found;
}

/** k05 - arguments: ports of the host's IPv4 and IPv6 loopback listeners */
static void k05(struct report *report, int argc, char **argv)
{
	long port, port6;

	if (long_argument(argc, argv, 0, &port) != 0 ||
	    long_argument(argc, argv, 1, &port6) != 0) {
		report_unprepared(report, "needs two ports");
		return;
	}
	report_code(report, "host-loopback",
		    connect_inet(SOCK_STREAM, "127.0.0.1", port));
	report_code(report, "host-loopback6", connect_inet6(port6));
	report_code(report, "metadata",
		    connect_inet(SOCK_DGRAM, "169.254.169.254", 80));
	report_code(report, "dns", connect_inet(SOCK_DGRAM, "198.51.100.53", 53));
	report_presence(report, "interfaces",
			has_interface_beside_lo(report));
}

/** k08 - arguments: sockets of desktop and container services, =NAME */
static void k08(struct report *report, int argc, char **argv)
{
	char name[PROBE_NAME_MAX];

	for (int i = 0; i < argc; i++) {
		if (argv[i][0] == '=') {
			snprintf(name, sizeof(name), "env:%s", argv[i] + 1);
			report_presence(report, name,
					getenv(argv[i] + 1) != NULL);
			continue;
		}
		snprintf(name, sizeof(name), "socket:%s",
			 strrchr(argv[i], '/') ? strrchr(argv[i], '/') + 1
					       : argv[i]);
		report_code(report, name, connect_unix(argv[i], false));
	}
}

/** k09 - options that run code in the kernel or choose the device */
static void k09(struct report *report, int argc, char **argv)
{
	struct sock_filter code = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = { .len = 1, .filter = &code };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)argc;
	(void)argv;
	if (fd < 0) {
		report_unprepared(report, "no socket");
		return;
	}
	report_attempt(report, "attach-filter",
		       setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
				  sizeof(program)),
		       0);
	/* a program of descriptor -1 does not exist */
	report_attempt(report, "attach-bpf",
		       setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF,
				  &(int){ -1 }, sizeof(int)),
		       EBADF);
	report_attempt(report, "bind-to-device",
		       setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3),
		       0);
	close(fd);
}

const struct probe k_probes[] = {
	{ "K01", "socket families", k01 },
	{ "K03", "protocols", k03 },
	{ "K04", "netlink", k04 },
	{ "K05", "the network outside", k05 },
	{ "K08", "sockets of services", k08 },
	{ "K09", "privileged socket options", k09 },
	{ NULL, NULL, NULL },
};
