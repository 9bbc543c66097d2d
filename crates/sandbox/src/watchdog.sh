# Ends a sandbox whose owner has died without doing so.
#
# Standard input is a pipe whose other end only the owner holds: its end of file is the owner's death,
# however it came about. The variable `runtime` is the sandbox's runtime directory, of this run alone.
trap '' HUP INT QUIT TERM
while read -r _; do :; done

# An owner that ends in order removes this directory itself, and leaves no server.
[ -d "$runtime" ] || exit 0

# Sends signal $1 to the servers and their children; false when there is none left.
#
# What belongs to this run has the runtime directory for an argument: servers (-k), and clients like
# pg_basebackup (-h). Process ids in files would not do, for they may be stale, not there yet, or of a
# later run's servers in the same data directories.
signal_all() {
    found=1
    for process in $(printf '%s\n' "$runtime" | grep -lzxF -f - /proc/[0-9]*/cmdline); do
        found=0
        pid=${process#/proc/}
        pid=${pid%/cmdline}
        children=$(cat "/proc/$pid/task/$pid/children")
        # What is stopped must go on to take the signal.
        kill -"$1" "$pid" $children
        kill -CONT "$pid" $children
    done 2>/dev/null
    return $found
}

signal_all QUIT
# Once more at least, for a server that was about to be started. Immediate shutdown gives children
# 5 seconds before it kills them.
tries=100
sleep 0.1
while signal_all QUIT && [ "$tries" -gt 0 ]; do
    sleep 0.1
    tries=$((tries - 1))
done
signal_all KILL
rm -rf -- "$runtime"
