/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/upper.h"

#include "base/clock.h"
#include "base/log.h"
#include "rt/nsid.h"
#include "rt/upper.h"

enum { CLEAR_MS = 5000 }; /* a pod may make more as long as it lives */

/* Of a device that has come home, in the namespace that it has left. */
static int find_left_behind(struct site *site, const struct link_info *link,
			    struct upper_list *ret_uppers, struct err *err)
{
	int32_t nsid;
	int r = upper_find(site->pod, link, true, ret_uppers, err);

	if (ret_uppers->count == 0)
		return r;
	r = nsid_ensure(site->pod, site->host_fd, &nsid, err);
	upper_keep(ret_uppers, r < 0 ? -1 : nsid); /* else it is not known which are ours */
	return r;
}

enum place { IN_POD, LEFT_BEHIND, IN_HOST };

static int find(struct site *site, enum place place, const struct link_info *link,
		struct upper_list *ret_uppers, struct err *err)
{
	if (place == LEFT_BEHIND)
		return find_left_behind(site, link, ret_uppers, err);
	return upper_find(place == IN_POD ? site->pod : site->host, link, false, ret_uppers, err);
}

/* Returns whether there was any. */
static bool delete_in(struct site *site, enum place place, const struct link_info *link)
{
	struct upper_list uppers = { .count = 0 };
	struct err err;

	if (find(site, place, link, &uppers, &err) < 0) {
		site->used_above = true; /* as far as anybody can tell */
		log_warn("%s: find what stands upon it: %s", link->name, err.msg);
	}
	if (uppers.count == 0)
		return false;
	site->used_above = true;
	log_debug("%s: delete %d devices upon it", link->name, uppers.count);
	if (upper_delete(place == IN_HOST ? site->host : site->pod, &uppers, &err) < 0)
		log_warn("%s: %s", link->name, err.msg);
	return true;
}

/* Until one look finds none: as long as it has some, a pod can make more. */
static bool delete_all_in(struct site *site, enum place place, const struct link_info *link)
{
	int64_t deadline_ms = clock_boot_ms() + CLEAR_MS;
	bool any = false;

	if (deadline_ms > site->deadline_ms)
		deadline_ms = site->deadline_ms;
	while (delete_in(site, place, link)) {
		any = true;
		if (clock_left_ms(deadline_ms) == 0)
			break;
	}
	return any;
}

bool upper_clear_in_pod(struct site *site, const struct link_info *link)
{
	site->looked_above = true;
	return delete_all_in(site, IN_POD, link);
}

/* A master that the host can see is the host's: the pod's was left behind. */
static bool is_claimed(const struct site *site, const struct link_info *link)
{
	struct err err;
	bool claimed = false;

	if (!link->master && upper_claims(site->host, link, &claimed, &err) < 0)
		log_warn("%s: %s", link->name, err.msg);
	return claimed;
}

bool upper_clear_in_host(struct site *site, const struct link_info *link)
{
	bool any = false;

	site->claimed = is_claimed(site, link);
	/* A look before the move that has found nothing is enough for one that nobody claims. */
	if (site->pod && (site->claimed || site->used_above || !site->looked_above))
		any = delete_all_in(site, LEFT_BEHIND, link);
	if (site->claimed)
		any = delete_all_in(site, IN_HOST, link) || any;
	if (site->claimed && any)
		site->claimed = is_claimed(site, link);
	site->used_above = site->used_above || site->claimed;
	return any;
}
