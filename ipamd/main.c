/* SPDX-License-Identifier: Apache-2.0 */
/* spur-ipamd: reads its arguments, prepares the process, runs the daemon, prints its error. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "ipamd/config.h"
#include "ipamd/daemon.h"

#define CONFIG_PATH "/etc/spur/ipamd.json"

static const char usage[] =
	"Usage: spur-ipamd [--config FILE] [--check-config] [--log-format json|text] "
	"[--new-ledger]\n"
	"The node daemon of Spur: addresses, devices and attachments of this node.\n"
	"\n"
	"  --config FILE    the configuration (default: " CONFIG_PATH ")\n"
	"  --check-config   read it, say whether it is good, and end\n"
	"  --log-format F   json or text, whatever the configuration says\n"
	"  --new-ledger     start although the ledger is not the one that has served in this "
	"boot,\n"
	"                   which held attachments\n"
	"  --version        print the version and end\n"
	"  --help           print this and end\n"
	"\n"
	"SIGHUP reads the file again (pools, log, plugin); SIGTERM ends the daemon.\n";

static int print_error(const struct err *err)
{
	log_error("%s", err->msg);
	if (err->details[0])
		log_error("%s", err->details);
	return 1;
}

static int check_config(const char *path)
{
	struct err err;

	if (daemon_check_config(path, &err) < 0)
		return print_error(&err);
	printf("%s: good\n", path);
	return 0;
}

static int run(const char *path, const struct daemon_options *how)
{
	struct err err;

	(void)umask(077);
	(void)signal(SIGPIPE, SIG_IGN);
	return daemon_run(path, how, &err) < 0 ? print_error(&err) : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, 'k' },
		{ "log-format", required_argument, NULL, 'f' },
		{ "new-ledger", no_argument, NULL, 'n' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct daemon_options how = { 0 };
	const char *path = CONFIG_PATH;
	bool check = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 'k':
			check = true;
			break;
		case 'f':
			how.log_format = optarg;
			break;
		case 'n':
			how.new_ledger = true;
			break;
		case 'v':
			printf("spur-ipamd %s\n", SPUR_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "spur-ipamd: unexpected argument \"%s\"\n%s", argv[optind], usage);
		return 2;
	}
	if (how.log_format && !config_is_log_format(how.log_format)) {
		fprintf(stderr, "spur-ipamd: --log-format %s: must be json or text\n",
			how.log_format);
		return 2;
	}
	return check ? check_config(path) : run(path, &how);
}
