# What is done in the machine. Each thing that is found out is one line behind `vm:`, which told.rs reads; what explains
# a failure follows, behind `vm: |`.

GROUPS_ROOT=/sys/fs/cgroup
IMAGES=/var/cache/execgate
# Whom `an_ordinary_user_runs_code_in_the_tier_that_says_so` is too: with subordinate ids, and tools that may not map them.
ORDINARY=4242

say() { echo "vm: $*"; }

seconds() { local up rest; read -r up rest </proc/uptime; echo "${up%.*}"; }

# judge PROGRAM NAME LOG SECONDS PASSED
judge() {
    if [ "$5" = yes ]; then
        say "ok $1 $2 $4"
    else
        # At once, so that the lines of two tests do not mix.
        echo "$(say "failed $1 $2 $4"; tail -c 3000 "$3" | sed 's/^/vm: | /')"
    fi
}

# In a group of its own that is handed to USER with what is in it, as systemd does where Delegate=yes.
delegated() { # USER COMMAND...
    local group user=$1
    group=$(mktemp --directory $GROUPS_ROOT/delegated-XXXXXX)
    shift
    chown "$user" "$group" "$group"/cgroup.{procs,threads,subtree_control}
    (
        echo $BASHPID >"$group/cgroup.procs"
        exec setpriv --reuid="$user" --regid="$user" --clear-groups "$@"
    )
}

as_ordinary() { setpriv --reuid=$ORDINARY --regid=$ORDINARY --clear-groups "$@"; }

# check NAME COMMAND...: what the command prints explains it.
check() {
    local log start name=$1
    log=$(mktemp)
    start=$(seconds)
    shift
    if "$@" >"$log" 2>&1; then set -- yes; else set -- no; fi
    judge check "$name" "$log" $(($(seconds) - start)) "$1"
    sed 's/^/    /' "$log"
}

doctor() { /mnt/execgate doctor --image-cache $IMAGES; }

prints() { # WANTED COMMAND...
    local wanted=$1 got
    shift
    got=$("$@") && echo "$got" && [ "$got" = "$wanted" ]
}

finds() { # PATTERN COMMAND...
    local pattern=$1 got
    shift
    got=$("$@")
    echo "$got"
    grep -q "$pattern" <<<"$got"
}

run() { /mnt/execgate run --image-cache $IMAGES "$@"; }

one_test() { # PROGRAM NAME
    local log start passed=no
    log=$(mktemp)
    start=$(seconds)
    timeout -s KILL "$TEST_SECONDS" "/mnt/$1" --exact "$2" --nocapture >"$log" 2>&1 && passed=yes
    judge "$1" "$2" "$log" $(($(seconds) - start)) $passed
    rm -f "$log"
}

tests() {
    local program name
    for program in $PROGRAMS; do
        "/mnt/$program" --list --format terse | sed -n "s/: test\$//p" | while read -r name; do
            if [[ "$program $name" =~ $FILTER && ! "$program $name" =~ $LEFT_OUT ]]; then echo "$program $name"; else echo "$program $name" >&3; fi
        done
    done 3>/tmp/left-out >/tmp/tests
    say "left-out $(wc -l </tmp/left-out)"
    say "planned $(wc -l </tmp/tests)"
    export -f one_test judge say seconds
    export TEST_SECONDS
    xargs -r -P "$JOBS" -L 1 bash -c 'one_test "$0" "$1"' </tmp/tests
}

serves() {
    local language
    check doctor doctor
    check doctor-in-a-delegated-group delegated root /mnt/execgate doctor --image-cache $IMAGES
    check an-ordinary-user-has-a-single-id finds '^tier jail-single-uid  *can be served' as_ordinary /mnt/execgate doctor --image-cache $IMAGES
    useradd --uid $ORDINARY --home-dir /tmp visitor
    check an-ordinary-user-with-subordinate-ids finds '^tier jail-no-cgroup  *can be served' as_ordinary /mnt/execgate doctor --image-cache $IMAGES
    check an-ordinary-user-in-a-delegated-group delegated $ORDINARY /mnt/execgate doctor --image-cache $IMAGES
    check two-sandboxes-in-a-delegated-group delegated root /mnt/warm --exact \
        suite::residents::code_sees_the_same_process_whether_it_waited_or_not
    check limits-in-a-delegated-group delegated root /mnt/all --exact \
        suite::limits::memory_is_a_limit_of_the_run_and_all_its_processes
    check python prints 42 run -e 'print(6 * 7)'
    [ ! -e /usr/bin/node ] || check javascript prints 42 run --lang javascript -e 'console.log(6 * 7)'
    check r prints '[1] 42' run --lang r -e 'print(6 * 7)'
    check bash prints 42 run --lang bash -e 'echo $((6 * 7))'
    tests
}

refuses() {
    check doctor-names-what-is-missing finds '^landlock  *--' doctor
    check no-tier-can-be-served finds '^tier jail-single-uid  *cannot be served' doctor
    check nothing-runs refused_by_landlock run -e 'print(6 * 7)'
}

refused_by_landlock() {
    local got
    if got=$("$@" 2>&1); then return 1; fi
    echo "$got"
    grep -qi landlock <<<"$got" && ! grep -q 42 <<<"$got"
}

# The places that the tests were compiled for.
settle() {
    local helper scratch
    { read -r helper; read -r scratch; } </mnt/places
    mkdir -p "$(dirname "$helper")" "$scratch" $IMAGES
    ln -s /mnt/sandbox-helper "$helper"
    ln -s $IMAGES "$scratch/sandbox-images"
}

source /mnt/wanted
say "up $(uname -r) $(cut -d ' ' -f 1 /sys/kernel/security/lsm 2>/dev/null)"
settle
"$WORK"
say "done $(seconds)"
