# The orphan guard: ends the commands of a program that is gone, however it went.
#
# Usage: sh guard.sh RUN
#
# Standard input comes from the program.  It tells of each process group of its commands:
#     = TICKS                 from now on, escapees have so long to end
#     + GROUP SIGNAL TICKS    it is there; to end it, ask with SIGNAL, and kill it after TICKS
#     - GROUP                 it is gone
#     .                       so is everything: the guard is not needed any more
# End-of-file without that last line means that the program is dead.  Then all groups that it told of
# are ended, and on Linux all processes that carry the mark RUN in their environment, the escapees.
# These are asked with SIGTERM: the mark does not tell with what else.
#
# For any POSIX shell whose `sleep` takes fractions.  A tick is 0.1 s.  What the program told of a
# group is kept in a variable that ends in its number; `groups` lists the numbers.
#
# This may be the moment in which no process can be started any more: all that was told of is asked
# to end without one, and killed at the least, however this script ends.

trap '' HUP INT QUIT TERM
PATH=$PATH:/usr/bin:/bin

run=$1
sigterm=15
grace=0          # of escapees, in ticks
reap_limit=20    # ticks that a group has to be gone after SIGKILL
groups=
listed=0         # numbers in `groups`, those of groups that are gone among them
most=100         # numbers at which it is gone through

while read -r what first signal ticks; do
    case $what in
    =) grace=$first ;;
    +)
        eval "currant_told_$first=$signal:$ticks"
        groups="$groups $first"
        listed=$((listed + 1))
        ;;
    -) unset "currant_told_$first" ;;
    .) exit 0 ;;
    esac
    if [ "$listed" -ge "$most" ]; then
        left=
        listed=0
        for group in $groups; do
            eval "told=\${currant_told_$group-}"
            [ -z "$told" ] || { left="$left $group" listed=$((listed + 1)); }
        done
        groups=$left
        most=$((2 * listed + 100))
    fi
done

# Asks a group with a signal to end, by a time at which it is killed.
ask() {
    eval "currant_due_$1=$3"
    kill -s "$2" -- "-$1"
    kill -s CONT -- "-$1"
}

# A shell that cannot fork ends at once.
kill_all() {
    for group in $groups; do
        eval "due=\${currant_due_$group-}"
        [ -z "$due" ] || kill -s KILL -- "-$group"
    done
}
trap kill_all EXIT

# Whether there is a /proc, with the numbers that `kill` takes: not that of a container's host.
read -r self rest </proc/self/stat && [ "$self" = $$ ] && proc=yes || proc=

# Sets `now`, in ticks.  Where the system does not tell, by the pauses of `finish`.
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

# Prints the groups of those who are more than zombies, from files /proc/PID/stat.  A line reads
# "pid (name) state ppid pgrp ..." with dozens of numbers; the name may hold anything, but not so much.
# The 20th of them counts the threads: a zombie with several has only lost its first one.
groups_alive() {
    rest='\( -\{0,1\}[0-9]\{1,\}\)'
    sed -n -e "s/.*) [^ZX] [0-9]* \([0-9]*\)$rest\{30,\}\$/\1/p" \
        -e "s/.*) Z [0-9]* \([0-9]*\)$rest\{14\} \([2-9]\|1[0-9]\)[0-9]*$rest\{20,\}\$/\1/p" \
        /dev/null "$@"
}

# Prints the folders of processes that have lost their first thread, and those of all their threads.
without_first_thread() {
    rest='\( -\{0,1\}[0-9]\{1,\}\)'
    sed -n "s/^\([0-9]*\) (.*) Z$rest\{16\} \([2-9]\|1[0-9]\)[0-9]*$rest\{20,\}\$/\/proc\/\1\/task\/*/p" \
        /dev/null "$@"
}

# Asks the groups of all that carry the mark and have not been asked, or kills them when the time is
# over; returns whether there were any.
sweep() {
    [ -n "$proc" ] || return
    found=
    files='/proc/[0-9]*/environ'
    for folder in $(without_first_thread /proc/[0-9]*/stat); do
        files="$files $folder/environ"
    done
    marked=$(grep -ls "$run/" $files | sed 's,^\(/proc/[0-9]*\)/.*,\1/stat,')
    for group in $(groups_alive $marked); do
        eval "due=\${currant_due_$group-}"
        if [ -z "$due" ]; then
            found=yes
            groups="$groups $group"
            ask "$group" "$sigterm" $((began + grace))
            [ "$now" -lt "$((began + grace))" ] || kill -s KILL -- "-$group"
        fi
    done
    [ -n "$found" ]
}

# Notes which groups have a member that is more than a zombie: `kill` takes those for members, too,
# and nobody may ever reap them.
see() {
    [ -n "$proc" ] || return
    seen=$(groups_alive /proc/[0-9]*/stat)
    for group in $seen; do
        eval "currant_seen_$group=$now"
    done
}

# Whether somebody in a group is alive.  Where nobody at all was seen, looking has failed.
alive() {
    kill -s 0 -- "-$1" || return
    [ -n "$proc" ] && [ -n "$seen" ] || return 0
    eval "[ \"\${currant_seen_$1-}\" = $now ]"
}

# Kills what was asked when its time has come; returns when nobody is left, or is beyond help.
finish() {
    while :; do
        see
        left=
        for group in $groups; do
            eval "due=\${currant_due_$group-}"
            [ -n "$due" ] || continue
            if ! alive "$group" || [ "$now" -gt "$((due + reap_limit))" ]; then
                unset "currant_due_$group"
                continue
            fi
            left="$left $group"
            [ "$now" -lt "$due" ] || kill -s KILL -- "-$group"
        done
        groups=$left
        [ -n "$groups" ] || return
        sleep "$pause"
        clock
    done
}

now=0
clock
began=$now
for group in $groups; do
    eval "how=\${currant_told_$group-}"
    [ -z "$how" ] || ask "$group" "${how%:*}" $((began + ${how#*:}))
done
sweep
finish
# A process carries the mark only from the moment in which its program starts, and may start others.
while sweep && [ "$now" -le "$((began + grace + reap_limit))" ]; do
    finish
done
