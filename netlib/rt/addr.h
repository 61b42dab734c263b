/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of one device. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/text.h"
#include "wire/wire.h"

struct addr_info {
	struct cidr cidr;
	uint8_t scope;  /* RT_SCOPE_* */
	bool tentative; /* IFA_F_TENTATIVE: DAD is not over */
	bool dadfailed;
};

/*
 * Already there with the same prefix: success; with another one: -EEXIST. @nodad: IFA_F_NODAD. v4
 * gets its broadcast address.
 */
int addr_add(struct wire *rt, int ifindex, const struct cidr *cidr, bool nodad, struct err *err);
/* Already gone (also the device): success. */
int addr_del(struct wire *rt, int ifindex, const struct cidr *cidr, struct err *err);
/*
 * All of the device, however many somebody has made; @each as in link_list(), and the same is
 * returned. When they change meanwhile one may be shown twice.
 */
int addr_list(struct wire *rt, int ifindex, int (*each)(const struct addr_info *addr, void *arg),
	      void *arg, struct err *err);
/* Is it there, with this prefix? 1 with *@ret_addr, 0, or -errno. */
int addr_find(struct wire *rt, int ifindex, const struct cidr *cidr, struct addr_info *ret_addr,
	      struct err *err);
/* The first of RT_SCOPE_UNIVERSE: 1 with *@ret_cidr, 0 if there is none, or -errno. */
int addr_find_global(struct wire *rt, int ifindex, struct cidr *ret_cidr, struct err *err);

/*
 * As link_watch(), for IPv6 addresses (RTNLGRP_IPV6_IFADDR): one that came, went, or whose
 * duplicate address detection has ended, well or badly. @each is told which device has it.
 */
int addr_watch(int *ret_fd, struct err *err);
int addr_watch_read(int fd, void (*each)(int ifindex, bool deleted, void *arg), void *arg,
		    struct err *err);
