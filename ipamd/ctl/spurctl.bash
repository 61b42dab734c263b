# SPDX-License-Identifier: Apache-2.0
# Completion of spurctl for bash. Names of devices, pods and addresses come from the daemon.

_spurctl_names()
{
	spurctl "${socket[@]}" attachments 2>/dev/null |
		awk 'NR > 1 { n = split($4, ip, ","); for (i = 1; i <= n; i++) { sub("/.*", "", ip[i]); print ip[i] }
			     print $2; sub(/^[a-z]+:/, "", $5); print $5 }' | grep -vx -e - | sort -u
}

_spurctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command="" word i
	local -a socket=()

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--socket) socket=(--socket "${COMP_WORDS[++i]}") ;;
		-o | -n | --diff | --at | --from | --to | --reason) ((i++)) ;;
		-*) ;;
		*) command=${command:-$word} ;;
		esac
	done

	case $prev in
	--socket | --diff)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	-o)
		mapfile -t COMPREPLY < <(compgen -W wide -- "$cur")
		return
		;;
	esac
	case $command in
	"") word="status top pools vfs attachments show history reconcile release check export import --socket --json --help --version" ;;
	pools) word="--diff --json" ;;
	vfs) word="--plugin-restarted --json" ;;
	attachments) word="-o --json" ;;
	show) word="$(_spurctl_names) --json" ;;
	release) word="$(_spurctl_names) --force --yes" ;;
	history) word="$(_spurctl_names) --at --from --to --reason -n --json" ;;
	export | import)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	reconcile) word="--force --yes --json" ;;
	*) word="--json" ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$word" -- "$cur")
}

complete -F _spurctl spurctl
