# The orphan guard: ends the commands of a program that is gone, however it went.
#
# Usage: sh _guard.sh RUN
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
# For any POSIX shell whose `sleep` takes fractions.  A tick is 0.1 s.  What is known of a group is
# kept in a variable that ends in its number: lists take a shell seconds where there are thousands.

trap '' HUP INT QUIT TERM
PATH=$PATH:/usr/bin:/bin

run=$1
sigterm=15
grace=0          # of escapees, in ticks
reap_limit=20    # ticks that a group has to be gone after SIGKILL

while read -r what first signal ticks; do
    case $what in
    =) grace=$first ;;
    +) eval "currant_told_$first=$signal:$ticks" ;;
    -) unset "currant_told_$first" ;;
    .) exit 0 ;;
    esac
done

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

# Prints GROUP:VALUE for each variable currant_NAME_GROUP.
variables() {
    set | sed -n "s/^currant_$1_\([0-9]*\)='\{0,1\}\([0-9:]*\)'\{0,1\}\$/\1:\2/p"
}

# Prints the groups of those who are more than zombies, from files /proc/PID/stat.  A line reads
# "pid (name) state ppid pgrp ..." with dozens of numbers; the name may hold anything, but not so much.
groups_alive() {
    sed -n 's/.*) [^ZX] [0-9]* \([0-9]*\)\( -\{0,1\}[0-9]\{1,\}\)\{30,\}$/\1/p' /dev/null "$@"
}

# Asks a group with a signal to end, by a time at which it is killed.
ask() {
    eval "currant_due_$1=$3"
    kill -s "$2" -- "-$1"
    kill -s CONT -- "-$1"
}

# Asks the groups of all that carry the mark and have not been asked; returns whether there were any.
sweep() {
    [ -n "$proc" ] || return
    found=
    for group in $(groups_alive $(grep -ls "$run/" /proc/[0-9]*/environ | sed 's/environ$/stat/')); do
        eval "due=\${currant_due_$group-}"
        if [ -z "$due" ]; then
            found=yes
            ask "$group" "$sigterm" $((began + grace))
        fi
    done
    [ -n "$found" ]
}

# Notes which groups have a member that is more than a zombie: `kill` takes those for members, too,
# and nobody may ever reap them.
see() {
    [ -n "$proc" ] || return
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

# Kills what was asked when its time has come; returns when nobody is left, or is beyond help.
finish() {
    while left=$(variables due) && [ -n "$left" ]; do
        see
        for entry in $left; do
            group=${entry%:*}
            due=${entry#*:}
            if ! alive "$group" || [ "$now" -gt "$((due + reap_limit))" ]; then
                unset "currant_due_$group"
            elif [ "$now" -ge "$due" ]; then
                kill -s KILL -- "-$group"
            fi
        done
        sleep "$pause"
        clock
    done
}

now=0
clock
began=$now
for entry in $(variables told); do
    how=${entry#*:}
    ask "${entry%%:*}" "${how%:*}" $((began + ${how#*:}))
done
sweep
finish
# A process carries the mark only from the moment in which its program starts, and may start others.
while sweep && [ "$now" -le "$((began + grace + reap_limit))" ]; do
    finish
done
