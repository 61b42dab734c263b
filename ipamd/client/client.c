/* SPDX-License-Identifier: Apache-2.0 */
#include "ipamd/client/client.h"
