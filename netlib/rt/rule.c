/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/rule.h"

#include <errno.h>
#include <string.h>

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "rt/route.h"

static struct nl_msg *rule_message(int type, int flags, const struct rule_spec *rule)
{
	struct fib_rule_hdr body = {
		.family = (uint8_t)rule->from.family,
		.src_len = (uint8_t)ip_bits(&rule->from),
		.action = FR_ACT_TO_TBL,
	};
	struct nl_msg *msg = wire_message(type, NLM_F_ACK | flags, &body, sizeof(body));

	if (!msg || nla_put(msg, FRA_SRC, body.src_len / 8, rule->from.bytes) < 0 ||
	    nla_put_u32(msg, FRA_TABLE, rule->table) < 0 ||
	    nla_put_u32(msg, FRA_PRIORITY, rule->priority) < 0 ||
	    nla_put_u8(msg, FRA_PROTOCOL, RT_PROTOCOL_SPUR) < 0) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

static int change_rule(struct wire *rt, int type, int flags, const struct rule_spec *rule,
		       struct err *err)
{
	struct nl_msg *msg = rule_message(type, flags, rule);
	char from[IP_TEXT];

	if (!msg)
		return err_nomem(err);
	return wire_request(rt, msg, err, "%s rule from %s lookup %u",
			    type == RTM_NEWRULE ? "add" : "delete", ip_format(&rule->from, from),
			    rule->table);
}

int rule_add(struct wire *rt, const struct rule_spec *rule, struct err *err)
{
	int r = change_rule(rt, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule, err);

	return r == -EEXIST ? 0 : r;
}

int rule_del(struct wire *rt, const struct rule_spec *rule, struct err *err)
{
	int r = change_rule(rt, RTM_DELRULE, 0, rule, err);

	return r == -ENOENT ? 0 : r;
}

struct rule_search {
	const struct rule_spec *want;
	bool found;
};

static int match_rule(struct nlmsghdr *header, void *arg, struct err *err)
{
	struct rule_search *search = arg;
	const struct ip *from = &search->want->from;
	struct fib_rule_hdr *body = nlmsg_data(header);
	struct nlattr *attrs[FRA_MAX + 1];
	uint32_t table;

	if (header->nlmsg_type != RTM_NEWRULE ||
	    nlmsg_parse(header, sizeof(*body), attrs, FRA_MAX, NULL) < 0)
		return err_set(err, EBADMSG, ERR_KERNEL, "read rule: malformed answer");
	if (body->family != from->family || !attrs[FRA_PROTOCOL] ||
	    nla_get_u8(attrs[FRA_PROTOCOL]) != RT_PROTOCOL_SPUR || !attrs[FRA_SRC] ||
	    nla_len(attrs[FRA_SRC]) != ip_bits(from) / 8)
		return 0;
	table = attrs[FRA_TABLE] ? nla_get_u32(attrs[FRA_TABLE]) : body->table;
	search->found =
		table == search->want->table &&
		memcmp(nla_data(attrs[FRA_SRC]), from->bytes, (size_t)nla_len(attrs[FRA_SRC])) == 0;
	return search->found;
}

int rule_find(struct wire *rt, const struct rule_spec *rule, struct err *err)
{
	struct fib_rule_hdr body = { .family = (uint8_t)rule->from.family };
	struct nl_msg *msg = wire_message(RTM_GETRULE, NLM_F_DUMP, &body, sizeof(body));
	struct rule_search search = { .want = rule };
	int r;

	if (!msg)
		return err_nomem(err);
	r = wire_query(rt, msg, match_rule, &search, NULL, err, "list rules");
	return r < 0 ? r : search.found;
}
