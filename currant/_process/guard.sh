# The orphan guard: ends the commands of a program that died, for whatever reason.
#
# Usage: sh guard.sh RUN [CGROUP], or sh -c "$(cat guard.sh)" NAME RUN [CGROUP]
#
# The program has the other end of standard input, a pipe.  The line "." there means that all groups
# are gone, and the guard has to exit.  End-of-file without that line means that the program is dead.
# Then the guard reads standard output, the register.  A line of the register is blank, or one of
#     = TICKS                     the grace of escapees is TICKS
#     ? OTHER                     a process with the mark OTHER is just being started; end it, too,
#                                 even if it runs its program only seconds from now
#     GROUP SIGNAL TICKS [MODE]   GROUP exists; to end it, send SIGNAL, and SIGKILL after TICKS; if
#                                 MODE is "mixed", SIGNAL goes to the leader alone, and SIGKILL
#                                 follows its exit
# The guard ends all registered groups, and on Linux the escapees: all processes with a mark of RUN,
# or of a part RUN.N, in their environment.  Escapees get SIGTERM, because the mark does not contain
# the stop signal.  The members of CGROUP, the folder of a control group, and of groups inside count as
# escapees, too; in the end the guard kills those that are left, and removes the groups.
#
# This script runs in any POSIX shell whose `sleep` takes fractions.  A tick is 0.1 s.  Variables for
# each group have names that end in the group's number.  `groups` lists the numbers.
#
# The system may be unable to start a process at this moment.  So the script sends the stop signals
# without starting one, and sends at least SIGKILL to all registered groups, however it exits.

trap '' HUP INT QUIT TERM
PATH=$PATH:/usr/bin:/bin

run=$1
cgroup=${2-}
sigterm=15
grace=0          # the grace of escapees, in ticks
others=          # options of `grep` that find the marks of processes that were being started
exec_limit=100   # ticks that the exec of such a process may take: the disk may be slow
reap_limit=20    # ticks for which a group may exist after SIGKILL
groups=

while read -r word; do
    [ "$word" != . ] || exit 0
done

# Sends a stop signal to a group, or to its leader, and sets the time at which the group gets SIGKILL.
# A number belongs to the leader, or to no process, as long as the group exists.
request_stop() {
    eval "currant_due_$1=$3 currant_mode_$1=$4"
    case $4 in
    mixed) kill -s 0 -- "-$1" && kill -s "$2" -- "$1" ;;
    *) kill -s "$2" -- "-$1" ;;
    esac
    kill -s CONT -- "-$1"
}

# A shell that cannot fork exits at once.
kill_all() {
    [ -z "$cgroup" ] || echo 1 >"$cgroup/cgroup.kill"
    for group in $groups; do
        eval "due=\${currant_due_$group-}"
        [ -z "$due" ] || kill -s KILL -- "-$group"
    done
}
trap kill_all EXIT

# Sets `proc` if /proc shows the pids that `kill` takes: it may be the /proc of a container's host.
read -r self rest </proc/self/stat && [ "$self" = $$ ] && proc=yes || proc=

# Sets `now`, in ticks.  If the system does not show the time, it counts the pauses of `finish`.
clock() {
    if read -r up rest </proc/uptime; then
        pause=0.05
        fraction=${up#*.}
        now=$((${up%.*} * 10 + ${fraction%?}))
    else
        pause=0.1
        now=$((now + 1))
    fi
}

# Prints the groups of processes that are alive, from files /proc/PID/stat.  A line reads
# "pid (name) state ppid pgrp ..." with dozens of numbers; a name may contain anything, but is too
# short for so many.  The 20th number is the thread count: a zombie with several threads is alive,
# and only its first thread has ended.  `cat` reads them, because `sed` stops at a process that ends.
groups_alive() {
    rest='\( -\{0,1\}[0-9]\{1,\}\)'
    cat /dev/null "$@" | sed -n -e "s/.*) [^ZX] [0-9]* \([0-9]*\)$rest\{30,\}\$/\1/p" \
        -e "s/.*) Z [0-9]* \([0-9]*\)$rest\{14\} \([2-9]\|1[0-9]\)[0-9]*$rest\{20,\}\$/\1/p"
}

# Prints the task folders of all threads of processes whose first thread has ended.
without_first_thread() {
    rest='\( -\{0,1\}[0-9]\{1,\}\)'
    cat /dev/null "$@" |
        sed -n "s/^\([0-9]*\) (.*) Z$rest\{16\} \([2-9]\|1[0-9]\)[0-9]*$rest\{20,\}\$/\/proc\/\1\/task\/*/p"
}

# Prints the stat files of all members of the control group.
members() {
    [ -z "$cgroup" ] ||
        cat /dev/null $(find "$cgroup" -name cgroup.procs) | sed 's,.*,/proc/&/stat,'
}

# Sends the stop signal to each group with a marked process that did not get it yet, and SIGKILL if
# the grace is over; succeeds if there was such a group.
sweep() {
    [ -n "$proc" ] || return
    found=
    files='/proc/[0-9]*/environ'
    for folder in $(without_first_thread /proc/[0-9]*/stat); do
        files="$files $folder/environ"
    done
    marked=$(grep -ls -e "$run[./]" $others $files | sed 's,^\(/proc/[0-9]*\)/.*,\1/stat,')
    for group in $(groups_alive $marked $(members)); do
        eval "due=\${currant_due_$group-}"
        if [ -z "$due" ]; then
            found=yes
            groups="$groups $group"
            request_stop "$group" "$sigterm" $((began + grace)) group
            [ "$now" -lt "$((began + grace))" ] || kill -s KILL -- "-$group"
        fi
    done
    [ -n "$found" ]
}

# Notes which groups have a live member.  `kill` finds zombies as well, and they may never be reaped.
look() {
    [ -n "$proc" ] || return
    seen=$(groups_alive /proc/[0-9]*/stat)
    for group in $seen; do
        eval "currant_seen_$group=$now"
    done
}

# Succeeds if a group has a live member.  If no process at all was seen, the look has failed.
alive() {
    kill -s 0 -- "-$1" || return
    [ -n "$proc" ] && [ -n "$seen" ] || return 0
    eval "[ \"\${currant_seen_$1-}\" = $now ]"
}

# Kills each group when its grace is over; returns when all groups are gone, or outlived SIGKILL.
finish() {
    while :; do
        look
        left=
        for group in $groups; do
            eval "due=\${currant_due_$group-}"
            [ -n "$due" ] || continue
            if ! alive "$group" || [ "$now" -gt "$((due + reap_limit))" ]; then
                unset "currant_due_$group"
                continue
            fi
            left="$left $group"
            eval "mode=\${currant_mode_$group-}"
            # The parent of the leader is PID 1 by now, and a leader that it has reaped is gone.
            [ "$mode" != mixed ] || kill -s 0 -- "$group" || due=$now
            [ "$now" -lt "$due" ] || kill -s KILL -- "-$group"
        done
        groups=$left
        [ -n "$groups" ] || return
        sleep "$pause"
        clock
    done
}

# Kills all members of the control group, and removes it as soon as they are gone.
remove_cgroup() {
    tries=0
    while [ -n "$cgroup" ] && [ -d "$cgroup" ] && [ "$tries" -le "$reap_limit" ]; do
        echo 1 >"$cgroup/cgroup.kill"
        find "$cgroup" -depth -type d -exec rmdir {} \;
        [ ! -d "$cgroup" ] || sleep "$pause"
        tries=$((tries + 1))
    done
}

now=0
clock
began=$now
while read -r group signal ticks mode; do
    case $group in
    '') ;;
    =) grace=$signal ;;
    \?) others="$others -e $signal/" ;;
    *)
        groups="$groups $group"
        request_stop "$group" "$signal" $((began + ticks)) "$mode"
        ;;
    esac
done <&1
exec >/dev/null
sweep
finish
# A process has the mark only from its exec on, and may start other processes: sweep until none is
# found.
while sweep && [ "$now" -le "$((began + grace + reap_limit))" ]; do
    finish
done
# A process that was being started outlives the program, but has no mark, and no group that is known.
while [ -n "$proc" ] && [ -n "$others" ] && [ "$now" -le "$((began + exec_limit))" ]; do
    sweep
    finish
    sleep 0.5
    clock
done
remove_cgroup
