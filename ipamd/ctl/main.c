/* SPDX-License-Identifier: Apache-2.0 */
/* spurctl: reads its arguments, opens the door to the daemon, runs one command. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipamd/ctl/command.h"

static const char usage[] =
	"Usage: spurctl [--socket PATH] [--json] COMMAND [ARGUMENT]\n"
	"Asks the node daemon of Spur.\n"
	"\n"
	"  status                             how the node is\n"
	"  top                                the same, with rates, again each second\n"
	"  pools                              addresses held, resting, free and draining\n"
	"  pools --diff FILE                  what this configuration would change\n"
	"  vfs                                the VFs of the node, whose they are, and drift\n"
	"  vfs --plugin-restarted [PCI]       device plugins were started again, and know the\n"
	"                                     RDMA character devices that the VFs have now\n"
	"  attachments [-o wide]              which pod has what\n"
	"  show ADDRESS|DEVICE|POD            all there is to tell of it\n"
	"  history [ADDRESS|GUID|DEVICE|POD|CONTAINER] [-n COUNT] [--reason REASON]\n"
	"          [--from TIME] [--to TIME]  what has happened to it, oldest first\n"
	"          [--at TIME]                who had it at that time\n"
	"  reconcile [--force]                look for dead pods now, and undo them;\n"
	"                                     --force: also when too many look dead at once\n"
	"  release --force ADDRESS|DEVICE|POD|NETWORK/CONTAINER/IFNAME\n"
	"                                     undo an attachment, also of a living pod\n"
	"  check                              prove that the ledger fits together\n"
	"  export [FILE]                      all of the ledger, as lines of JSON\n"
	"  import FILE                        an export, into an empty ledger\n"
	"\n"
	"  --socket PATH   default: " PROTO_SOCKET "\n"
	"  --json          for programs\n"
	"  --yes           with --force: do not ask\n"
	"  TIME            \"2026-11-27 12:00:00\", 12:00 (today), -2h (ago), seconds since 1970\n"
	"  -n COUNT        only the last of the events; default 50, 0: all\n"
	"  --help, --version\n"
	"\n"
	"Ends with 0; 1 if it failed or the question was not answered with yes; 2 if it was "
	"called\n"
	"wrongly.\n";

enum { EXIT_USAGE = 2 };

static int usage_error(const char *what, const char *text)
{
	fprintf(stderr, "spurctl: %s%s%s\n%s", what, text ? ": " : "", text ? text : "", usage);
	return EXIT_USAGE;
}

static int run(struct ctl *ctl, const struct command *command, const char *socket)
{
	struct err err;
	int r;

	r = client_open(&ctl->client, socket, &err);
	if (r == 0)
		r = command->run(ctl, &err);
	client_close(&ctl->client);
	if (r < 0) {
		fprintf(stderr, "spurctl: %s\n", err.msg);
		if (err.details[0])
			fprintf(stderr, "spurctl: %s\n", err.details);
	}
	if (r == COMMAND_DECLINED)
		fprintf(stderr, "spurctl: nothing was done\n");
	return r == 0 ? 0 : 1;
}

/* The positional arguments: a command and what it takes. */
static int run_arguments(struct ctl *ctl, char **argv, int count, const char *socket)
{
	const struct command *command;

	if (count == 0)
		return usage_error("a command is missing", NULL);
	command = command_find(argv[0]);
	if (!command)
		return usage_error("unknown command", argv[0]);
	if (ctl->diff && strcmp(command->name, "pools") != 0)
		return usage_error("--diff is of pools", ctl->diff);
	if (ctl->plugin_restarted && strcmp(command->name, "vfs") != 0)
		return usage_error("--plugin-restarted is of vfs", command->name);
	if (count > 1 && strcmp(command->name, "vfs") == 0 && !ctl->plugin_restarted)
		return usage_error("unexpected argument", argv[1]);
	if (command->takes == ARGUMENT_NEEDED && count < 2)
		return usage_error("an argument is missing", argv[0]);
	if (count > 1 + (command->takes != ARGUMENT_NONE))
		return usage_error("unexpected argument", argv[count - 1]);
	ctl->argument = argv[1]; /* NULL behind the last */
	return run(ctl, command, socket);
}

enum { OPTION_TAKEN = -1 };

/* OPTION_TAKEN, or the status to end with. */
static int take_option(struct ctl *ctl, int option, const char **socket)
{
	char *end;

	switch (option) {
	case 's':
		*socket = optarg;
		return OPTION_TAKEN;
	case 'j':
		ctl->json = true;
		return OPTION_TAKEN;
	case 'f':
		ctl->force = true;
		return OPTION_TAKEN;
	case 'y':
		ctl->yes = true;
		return OPTION_TAKEN;
	case 'o':
		ctl->wide = true;
		return strcmp(optarg, "wide") == 0 ? OPTION_TAKEN
						   : usage_error("-o must be wide", optarg);
	case 'P':
		ctl->plugin_restarted = true;
		return OPTION_TAKEN;
	case 'd':
		ctl->diff = optarg;
		return OPTION_TAKEN;
	case 'A':
		ctl->at = optarg;
		return OPTION_TAKEN;
	case 'F':
		ctl->from = optarg;
		return OPTION_TAKEN;
	case 'T':
		ctl->to = optarg;
		return OPTION_TAKEN;
	case 'R':
		ctl->reason = optarg;
		return OPTION_TAKEN;
	case 'n':
		ctl->last = strtol(optarg, &end, 10);
		return *end || end == optarg || ctl->last < 0
			       ? usage_error("-n must be a number", optarg)
			       : OPTION_TAKEN;
	case 'v':
		printf("spurctl %s\n", SPUR_VERSION);
		return 0;
	case 'h':
		fputs(usage, stdout);
		return 0;
	default:
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "force", no_argument, NULL, 'f' },
		{ "yes", no_argument, NULL, 'y' },
		{ "at", required_argument, NULL, 'A' },
		{ "from", required_argument, NULL, 'F' },
		{ "to", required_argument, NULL, 'T' },
		{ "reason", required_argument, NULL, 'R' },
		{ "diff", required_argument, NULL, 'd' },
		{ "plugin-restarted", no_argument, NULL, 'P' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct ctl ctl = { .client.fd = -1, .last = -1 };
	const char *socket = PROTO_SOCKET;
	int option, status;

	while ((option = getopt_long(argc, argv, "n:o:", options, NULL)) >= 0) {
		status = take_option(&ctl, option, &socket);
		if (status != OPTION_TAKEN)
			return status;
	}
	return run_arguments(&ctl, argv + optind, argc - optind, socket);
}
