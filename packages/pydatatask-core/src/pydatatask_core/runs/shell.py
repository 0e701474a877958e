"""The POSIX shell programs that look after runs on a host.

They need ``sh`` (dash and busybox are enough), ``setsid``, ``ln``, ``mv``, ``sleep`` and Linux's ``/proc``. What is
done often is done by what the shell has built in: a scan of a thousand runs starts no process. Every word that a
program works on is an argument of it; nothing that a user wrote is part of a program.

A run's folder is ``TASK@JOB/ATTEMPT``, and ``TASK@JOB/claim`` holds the owner's fingerprint and a word
that no other claim has. In a run's folder are,
besides what the job reads and writes:

- ``limits``: timeout and grace (seconds; ``-`` for none), the file that is standard input, and ``1`` if standard error
  goes into standard output;
- ``run``: what a copy of the supervisor does to become the job: write ``group``, set the environment, run ``script``;
- ``start``: pid, start time in ticks, boot id and pid namespace of the supervisor, and when it began. It is a hard
  link to a file that was complete before, so it comes into being once, and whole. Pid 0 means: cancelled before;
- ``group``: pid and start time in ticks of the job, which leads a session and a process group of its own;
- ``exit``: exit status, reason (``-``, ``timeout``, ``cancelled``, ``lost``) and when it ended. It counts from when the
  line has its end, which is written last, so that it is never seen in part and a rename, one more process, is saved;
- ``cancel``: the word ``cancelled`` or ``dropped``, if somebody wants the run to end. A supervisor that gets TERM
  without it is ended by the host, which goes down, say: the run is lost;
- ``lost``: the supervisor was found dead, so a job that did not begin yet must not.

Times are hundredths of a second since 1970 by the clock of the host. They are made from ``/proc/uptime`` and an
``offset``, because ``date`` would be one more process.
"""

from __future__ import annotations

__all__ = ["BECOME", "CANCEL", "COMMON", "DELETE", "FINISH", "PROBE", "RUN", "SCAN", "SUPERVISE"]

COMMON = r"""
# Set 'now'.
tell_time() { read -r up rest < /proc/uptime; now=$((${up%.*}${up#*.} + offset)); }

# Set 'state', 'parent', 'group' and 'ticks' of a process, or fail.
# Its name stands in brackets, and may hold any but the last.
identify() {
    { read -r stat < "/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${stat##*) }
    state=$1 parent=$2 group=$3 ticks=${20}
}

# Whether anything lives in a process group. Zombies do not, though they count for kill, where nobody reaps them.
lives() {
    kill -0 "-$1" 2>/dev/null || return 1
    for process in /proc/[0-9]*; do
        identify "${process#/proc/}" && [ "$group" = "$1" ] && [ "$state" != Z ] && return 0
    done
    return 1
}

# Write a line to a file, and fail unless it is there. It is too short to be divided.
put() { printf '%s\n' "$2" > "$1" && [ -s "$1" ]; }

# Set 'alive' to yes, no, or unknown, from the words of a start record.
judge() {
    alive=no
    [ "$3" = "$boot" ] || return 0
    if [ "$4" != "$ns" ]; then
        alive=unknown
    elif identify "$1" && [ "$ticks" = "$2" ] && [ "$state" != Z ]; then
        alive=yes
    fi
}

# Tell of the run in this folder, in the words that RunLine reads.
tell() {
    claim='- -' cancel=- alive=- start='- - - - -' end='- - -'
    { read -r claim < ../claim; } 2>/dev/null
    { read -r cancel < cancel; } 2>/dev/null
    if { read -r start < start; } 2>/dev/null; then judge $start; else start='- - - - -'; fi
    # Last, because a supervisor writes it before it goes.
    { read -r end < exit; } 2>/dev/null || end='- - -'
    printf '%s\n' "$name $claim $cancel $alive $start $end"
}

read -r boot < /proc/sys/kernel/random/boot_id
"""
"""What most programs begin with."""

DELETE = r"""
# Delete a folder. A job may have left folders in it that even their owner may not change.
delete() { rm -rf -- "$1" 2>/dev/null || { chmod -R u+rwX "$1" && rm -rf -- "$1"; } 2>/dev/null; }
"""
"""A function of the programs that delete."""

SUPERVISE = (
    r"""
dir=$1 name=$2 ns=$3 offset=$4
cd "$dir" || exit
# Deaf by doing nothing: a signal that is ignored would stay so in the job.
trap : HUP INT QUIT PIPE
"""
    + COMMON
    + r"""
# Signal a process or group after so many seconds, unless this shell has gone, whose number may be another's by then.
after() { ( sleep "$1" && waited_for && signal "$2" "$3" ) > /dev/null & }
waited_for() { read -r stat < /proc/self/stat; set -- ${stat##*) }; [ "$2" = $$ ]; }
# Before setsid took effect there is no group.
signal() { kill "$1" "$2" || kill "$1" "${2#-}"; }
ours() { identify "$1" && [ "$parent" = $$ ]; }
# End the job, once and for this reason. Traps do it themselves: a note that one leaves just before a wait for the job
# would be read when the job has ended.
end() {
    stop=${stop:-$1}
    [ -z "$ending" ] && [ -n "$job" ] && ours "$job" || return 0
    ending=$stop
    # Nobody asked for it: the host goes down, say.
    [ "$stop" != cancelled ] || [ -e cancel ] || ending=lost
    signal -TERM "-$job"
    after "$grace" -KILL "-$job"
    killer=yes timers=yes
}
stop= ending= job= timers= killer=
trap 'end cancelled' TERM
trap 'end timeout' ALRM

identify $$ || exit
tell_time
record="$$ $ticks $boot $ns $now"
put "start.$$" "$record" && ln "start.$$" start 2>/dev/null || exit
read -r claim < ../claim
read -r timeout grace input merge < limits
# A copy of this shell becomes the job: to start another one would cost as much as the job.
if [ "$merge" = 1 ]; then
    ( . ./run ) < "$input" > stdout 2>&1 &
else
    ( . ./run ) < "$input" > stdout 2> stderr &
fi
job=$!
# As tell() would, from what is known.
printf '%s\n' "$name $claim - yes $record - - -"
[ "$timeout" = - ] || { after "$timeout" -ALRM $$; timers=yes; }
[ -z "$stop" ] || end "$stop"
while :; do
    wait "$job"
    code=$?
    # Any signal ends the wait, and the job goes on.
    ours "$job" || break
done
trap : TERM ALRM
# A signal may have ended the last wait, and then the job: its status is still to be had, once.
if [ "$code" -gt 128 ]; then
    wait "$job"
    again=$?
    [ "$again" = 127 ] || code=$again
fi
# What the job left in its group has a second to end by itself, and then the grace.
tenths=0
while lives "$job"; do
    if [ "$tenths" = 10 ] && [ -z "$killer" ]; then
        kill -TERM "-$job"
        after "$grace" -KILL "-$job"
        killer=yes timers=yes
    fi
    tenths=$((tenths + 1))
    sleep 0.1
done
# Nothing but timers is in the group that this shell leads.
[ -z "$timers" ] || kill -TERM "-$$"
tell_time
# A full disk may have room again; a folder that is gone does not come back.
until put exit "$code ${ending:--} $now"; do
    [ -d "$dir" ] || exit
    sleep 1
done
cancel=-
[ ! -e cancel ] || read -r cancel < cancel
printf '%s\n' "$name $claim $cancel yes $record $code ${ending:--} $now"
# One that had just begun may not have heard.
[ -z "$timers" ] || kill -KILL "-$$"
"""
)
"""Run one attempt unless somebody does. Arguments: folder, name, pid namespace, offset. Tells its beginning and end."""

RUN = r"""
read -r stat < /proc/self/stat
set -- "${stat%% *}" ${stat##*) }
printf '%s %s\n' "$1" "${21}" > group || exit 125
[ ! -e lost ] || exit 125
"""
"""How ``run`` begins."""

BECOME = r"""
cd cwd || exit 125
exec setsid ../script
"""
"""How ``run`` ends."""

SCAN = (
    r"""
base=$1 ns=$2 only=$3
"""
    + COMMON
    + r"""
cd "$base" 2>/dev/null || { echo gone; exit; }
for name in ${only:-*@*/[0-9]*}; do
    cd "$name" 2>/dev/null || continue
    tell
    cd "$base" || exit
done
"""
)
"""Tell of every run, or of one. Arguments: the app's folder, pid namespace, and the name of the one."""

CANCEL = (
    r"""
dir=$1 name=$2 ns=$3 offset=$4 word=$5
cd "$dir" 2>/dev/null || exit 0
"""
    + COMMON
    + r"""
put "cancel.$$" "$word" && mv "cancel.$$" cancel
tell_time
if put "start.$$" "0 0 $boot $ns $now" && ln "start.$$" start 2>/dev/null; then
    put exit "143 cancelled $now"
else
    read -r start < start && judge $start
    [ "$alive" != yes ] || kill -TERM "${start%% *}"
fi
tell
"""
)
"""End a run, or see that it never starts. Arguments as for SUPERVISE, and ``cancelled`` or ``dropped``."""

FINISH = (
    r"""
dir=$1 name=$2 ns=$3 offset=$4
cd "$dir" 2>/dev/null || exit 0
"""
    + COMMON
    + r"""
{ read -r end < exit; } 2>/dev/null && { tell; exit; }
put lost "$$" || exit
read -r start < start && judge $start
[ "$alive" = no ] || { tell; exit; }
set -- $start
reason=lost code=-
[ "$1" != 0 ] || reason=cancelled
if [ "$3" = "$boot" ] && { read -r job began < group; } 2>/dev/null; then
    # The number of a group is not given to a process while the group has members.
    if ! identify "$job" || [ "$ticks" = "$began" ]; then
        while lives "$job"; do kill -KILL "-$job"; sleep 0.1; done
    fi
fi
tell_time
put exit "$code $reason $now"
tell
"""
)
"""End what is left of a run whose supervisor is dead, and write its exit record. Arguments as for SUPERVISE."""

PROBE = (
    r"""
ns=$1
"""
    + COMMON
    + r"""
shift
judge "$@"
echo "$alive"
"""
)
"""Tell whether a supervisor lives whose folder is gone. Arguments: pid namespace, and the words of its start record."""
