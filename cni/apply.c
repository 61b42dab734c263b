/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/apply.h"

#include <errno.h>

#include "base/clock.h"
#include "base/hook.h"
#include "base/log.h"
#include "cni/device.h"
#include "cni/step.h"

static int apply_one(const struct step *step, int number, struct site *site, struct err *err)
{
	const struct step_ops *ops = step_ops(step->kind);
	char text[STEP_TEXT];
	int r;

	ops->describe(step, site, text, sizeof(text));
	log_debug("step %d: %s", number, text);
	r = hook_step("apply", number);
	if (r < 0)
		err_set(err, -r, ERR_INTERNAL, "the test hook fails it");
	else if (clock_left_ms(site->deadline_ms) == 0)
		r = err_set(err, ETIMEDOUT, ERR_AGAIN, "ADD has taken too long");
	else
		r = ops->apply(step, site, err);
	if (r < 0)
		err_prefix(err, "step %d: %s", number, text);
	return r;
}

int plan_apply(const struct plan *plan, struct site *site, size_t *ret_done, struct err *err)
{
	*ret_done = 0;
	for (size_t i = 0; i < plan->count; i++) {
		int r;

		(*ret_done)++;
		r = apply_one(&plan->steps[i], (int)i + 1, site, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int revert_one(const struct step *step, int number, struct site *site, struct err *err)
{
	const struct step_ops *ops = step_ops(step->kind);
	char text[STEP_TEXT];
	int r;

	ops->describe(step, site, text, sizeof(text));
	log_debug("undo %d: %s", number, text);
	r = hook_step("revert", number);
	if (r < 0)
		err_set(err, -r, ERR_INTERNAL, "the test hook fails it");
	else
		r = ops->revert(step, site, err);
	if (r < 0)
		err_prefix(err, "undo \"%s\"", text);
	return r;
}

int plan_revert(const struct plan *plan, size_t count, struct site *site, struct err *err)
{
	struct err later;
	int number = 0, r = 0;

	for (size_t i = count; i > 0; i--) {
		const struct step *step = &plan->steps[i - 1];

		if (step_ops(step->kind)->revert) {
			int one = revert_one(step, ++number, site, r == 0 ? err : &later);

			r = r == 0 ? one : r;
		}
	}
	return r;
}
