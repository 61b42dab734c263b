/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/socket.h"
