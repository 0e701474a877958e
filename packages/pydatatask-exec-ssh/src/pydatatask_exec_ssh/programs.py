"""The shell programs that only hosts over SSH need. They are read by ``sh`` from its standard input.

So they pass no login shell, whose quoting may be another one, and no limit of a command line.
"""

from __future__ import annotations

import shlex
from typing import Final

from pydatatask_core.runs.shell import COMMON, DELETE, SUPERVISE

__all__ = ["PREPARE", "SWEEP", "TALK"]

PREPARE: Final = r"""
base=$1 app=$2
umask 077
for dir in "$base" "$base/$app"; do
    said=$(mkdir -p -- "$dir" 2>&1) || { echo "failed $said"; exit; }
    [ ! -L "$dir" ] && [ -d "$dir" ] && [ -O "$dir" ] || { echo "foreign $dir"; exit; }
    chmod 700 "$dir"
done
said=$(mkdir -p -- "$dir/.new" "$dir/.old" 2>&1) || { echo "failed $said"; exit; }
rm -f "$dir"/.stamp.*
command -v setsid > /dev/null || { echo 'failed there is no setsid. Install util-linux, or busybox with it.'; exit; }
ns=$(readlink /proc/self/ns/pid) && read -r up rest < /proc/uptime || { echo 'failed it has no /proc of Linux'; exit; }
now=$(date +%s%N)
case $now in *[!0-9]*) now=$(date +%s) ;; esac
echo "host $ns $now $up"
"""
"""Make the folders and see that they are ours; tell the pid namespace, the time and the uptime. Arguments: the base
folder, and the app. Not every ``date`` knows parts of a second."""

SWEEP: Final = (
    r"""
cd "$1" 2>/dev/null || exit 0
mine=" $2 "
"""
    + DELETE
    + r"""
for staged in .new/*; do
    case $mine in *" ${staged#.new/} "*) ;; *) [ ! -e "$staged" ] || mv "$staged" .old/ ;; esac
done
for left in .old/*; do [ ! -e "$left" ] || delete "$left"; done
"""
)
"""Delete what interrupted stagings and removals have left. Arguments: the app's folder, and what is staged now."""

TALK: Final = (
    r"""
base=$1 ns=$2 offset=$3 old=$base/.stamp.$4.0 new=$base/.stamp.$4.1
"""
    + f"supervise={shlex.quote(SUPERVISE)}\n"
    + COMMON
    + DELETE
    + r"""
# In a process of its own that nobody waits for, so that a large folder keeps nobody waiting.
remove() {
    (
        {
            cd "$base" && { [ -d .old ] || mkdir .old; } && mv "$1" ".old/$2" && delete ".old/$2"
            printf '. %s\n' "$id"
        } 2>/dev/null &
    )
}

# Only the session that this makes belongs to the run; nothing of the connection stays open in it.
start() {
    ( setsid sh -c "$supervise" pydatatask "$base/$1" "$1" "$ns" "$offset" < /dev/null > /dev/null 2>&1 & )
}

# Make a folder with folders and small files in it: $1 is its name; $2 the number of files, each of which a line follows
# for, and the folders. All lines are read whatever fails.
stage() {
    staged=$base/.new/$1 count=${2%% *} said=' done'
    set --
    for folder in ${two#"$count"}; do set -- "$@" "$staged/$folder"; done
    umask 077
    [ -O "$base/.new" ] && mkdir -p "$staged" "$@" 2>/dev/null || said=' failed'
    while [ "$count" -gt 0 ]; do
        read -r mode path data || return
        count=$((count - 1))
        [ "$said" = ' done' ] && fill "$mode" "$staged/$path" "$data" 2>/dev/null || said=' failed'
    done
    umask "$mask"
}

fill() {
    printf %b "$3" > "$2" && { [ -z "$3" ] || [ -s "$2" ]; } && { [ "$1" != program ] || chmod 700 "$2"; }
}

each() {
    cd "$base" 2>/dev/null || return 0
    for name in *@*/[0-9]*; do
        cd "$name" 2>/dev/null || continue
        "$1"
        cd "$base" || return 0
    done
}

mark() {
    last=$new new=$old old=$last
    { echo > "$new"; } 2>/dev/null
}

# Tell of a run that has not begun, or began or ended since the older mark, or whose supervisor is dead. The mark is
# some seconds old, because not every file system and shell tells apart times within a second.
news() {
    if [ -e exit ]; then
        [ "$old" -nt exit ] && return 0
    elif [ "$old" -nt start ]; then
        { read -r start < start; } 2>/dev/null && judge $start && [ "$alive" != no ] && return 0
    fi
    tell
}

talk() {
    # Jobs are to have the one that the host gives them.
    mask=$(umask)
    echo ready
    while read -r id verb one two; do
        said=
        case $verb in
            start) start "$one" ;;
            remove) remove "$one" "$two"; continue ;;
            stage) stage "$one" "$two" ;;
            all) each tell ;;
            mark) mark ;;
            changes) each news ;;
        esac
        printf '. %s%s\n' "$id" "$said"
    done
    rm -f "$old" "$new"
}
talk
"""
)
"""Do what one line after another says, and answer each by a line of a dot and its number. Ends with its input.

Arguments: the app's folder, pid namespace, offset, and a word of its own. A line is a number, a verb and its words:

- ``start PATH``;
- ``remove NAME ASIDE``;
- ``stage NAME COUNT FOLDERS``, followed by so many lines of ``file`` or ``program``, a path, and a content as printf %b
  reads it; answered by ``done`` or ``failed`` behind the number;
- ``all``, which tells of all runs;
- ``mark``, which begins a new span of time;
- ``changes``, which tells what is new since the span before the last began.
"""
