/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of one device. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/text.h"
#include "wire/wire.h"

enum { ADDR_LIST_MAX = 64 };

struct addr_info {
	struct cidr cidr;
	uint8_t scope;  /* RT_SCOPE_* */
	bool tentative; /* IFA_F_TENTATIVE: DAD is not over */
	bool dadfailed;
};

struct addr_list {
	struct addr_info addrs[ADDR_LIST_MAX];
	int count;
};

/*
 * Already there with the same prefix: success; with another one: -EEXIST. @nodad: IFA_F_NODAD. v4
 * gets its broadcast address.
 */
int addr_add(struct wire *rt, int ifindex, const struct cidr *cidr, bool nodad, struct err *err);
/* Already gone (also the device): success. */
int addr_del(struct wire *rt, int ifindex, const struct cidr *cidr, struct err *err);
/* The first ADDR_LIST_MAX of them. */
int addr_dump(struct wire *rt, int ifindex, struct addr_list *ret_list, struct err *err);

/*
 * As link_watch(), for IPv6 addresses (RTNLGRP_IPV6_IFADDR): one that came, went, or whose
 * duplicate address detection has ended, well or badly. @each is told which device has it.
 */
int addr_watch(int *ret_fd, struct err *err);
int addr_watch_read(int fd, void (*each)(int ifindex, bool deleted, void *arg), void *arg,
		    struct err *err);
