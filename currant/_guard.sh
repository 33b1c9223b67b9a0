# The orphan guard: ends the commands of a program that is gone, however it went.
#
# Usage: sh _guard.sh RUN
#
# Standard input comes from the program.  It tells of each process group of its commands:
#     = TICKS                 one is about to be started that has so long to end
#     + GROUP SIGNAL TICKS    it is there; to end it, ask with SIGNAL, and kill it after TICKS
#     - GROUP                 it is gone
#     .                       so is everything: the guard is not needed any more
# End-of-file without that last line means that the program is dead.  Then all groups that it told of
# are ended, and on Linux all processes that carry the mark RUN in their environment.
#
# For any POSIX shell whose `sleep` takes fractions.  A tick is 0.1 s.  What is known of a group is
# kept in a variable currant_group_GROUP: lists take a shell seconds where there are thousands.

trap '' HUP INT QUIT TERM
PATH=$PATH:/usr/bin:/bin

run=$1
longest=0

# After `=`, the number of ticks is in `group`.
while read -r what group signal ticks; do
    case $what in
    =) [ "$group" -le "$longest" ] || longest=$group ;;
    +) eval "currant_group_$group=$signal:$ticks" ;;
    -) unset "currant_group_$group" ;;
    .) exit 0 ;;
    esac
done

# Whether there is a /proc, with the numbers that `kill` takes: not that of a container's host.
read -r self rest </proc/self/stat && [ "$self" = $$ ] && proc=yes || proc=

# Sets `now`, in ticks.
clock() {
    if read -r up rest </proc/uptime; then
        fraction=${up#*.}
        now=$((${up%.*} * 10 + ${fraction%?}))
    else
        now=$((now + 1))
    fi
}

# Prints the groups of those who are more than zombies, from files /proc/PID/stat.  A line reads
# "pid (name) state ppid pgrp ..." with dozens of numbers; the name may hold anything, but not so much.
groups_alive() {
    sed -n 's/.*) [^ZX] [0-9]* \([0-9]*\)\( -\{0,1\}[0-9]\{1,\}\)\{30,\}$/\1/p' /dev/null "$@"
}

# Prints GROUP:SIGNAL:DUE for each group.
groups() {
    set | sed -n "s/^currant_group_\([0-9]*\)='\{0,1\}\([0-9:]*\)'\{0,1\}\$/\1:\2/p"
}

# Asks a group to end, and has it killed when the time has come.
ask() {
    eval "currant_group_$1=$2:$3"
    kill -s "$2" -- "-$1"
    kill -s CONT -- "-$1"
}

# Asks the groups that the program did not tell of, of the processes that carry the mark.
sweep() {
    for group in $(groups_alive $(grep -ls "$run/" /proc/[0-9]*/environ | sed 's/environ$/stat/')); do
        eval "known=\${currant_group_$group-}"
        [ -n "$known" ] || ask "$group" 15 $((began + longest))
    done
}

# Notes which groups have a member that is more than a zombie: `kill` takes those for members, too,
# and nobody may ever reap them.
see() {
    for group in $(groups_alive /proc/[0-9]*/stat); do
        eval "currant_seen_$group=$now"
    done
}

# Whether somebody in a group is alive.
alive() {
    kill -s 0 -- "-$1" || return
    [ -n "$proc" ] || return 0
    eval "[ \"\${currant_seen_$1-}\" = $now ]"
}

# Ends what has been asked; returns when nobody is left, or is beyond help.
finish() {
    while left=$(groups) && [ -n "$left" ]; do
        clock
        [ -z "$proc" ] || see
        for entry in $left; do
            group=${entry%%:*}
            due=${entry##*:}
            if ! alive "$group" || [ "$now" -gt "$((due + 20))" ]; then
                unset "currant_group_$group"
            elif [ "$now" -ge "$due" ]; then
                kill -s KILL -- "-$group"
                waits=yes
            else
                waits=yes
            fi
        done
        [ -z "$waits" ] || sleep 0.05
        waits=
    done
}

now=0
waits=
clock
began=$now
for entry in $(groups); do
    how=${entry#*:}
    ask "${entry%%:*}" "${how%:*}" $((began + ${how#*:}))
done
# Again: a process carries the mark from the moment in which its program starts, and may start others.
for round in 1 2 3; do
    [ -z "$proc" ] || sweep
    finish
done
