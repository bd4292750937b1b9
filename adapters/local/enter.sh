# Starts one sandbox. Run twice by sh: as `outer` on the host, and as `inner` by `unshare` as the
# first process of the new namespaces. Written for few forks: what a builtin can do, a builtin does.
#
#   enter.sh outer DIR RUN_DIR RUN_OPTIONS PROCS... -- UNSHARE_ARGS...
#   enter.sh inner DIR ROOT SOURCE DISK_OPTIONS LOOPBACK OWNER SEAL FINAL...
#
# SOURCE is a directory to fill a tmpfs from, or the image of a disk to copy.
# Fd 2 is the launch's log, fd 3 the pipe on which the server waits for "ready". Neither reaches
# the agent.
set -eu
stage=$1
dir=$2
shift 2

if [ "$stage" = outer ]; then
  # Whoever makes this file owns the launch: this process, or the server that gives the launch up.
  read -r stat </proc/self/stat
  set -C
  echo "$stat" >"$dir/claim" || exit 75
  set +C
  run_dir=$1 run_options=$2
  shift 2
  while [ "$1" != -- ]; do
    # 0 stands for the writer. Joining before unshare makes it the root of the cgroup namespace.
    echo 0 >"$1"
    shift
  done
  shift
  # A file system of its own, so that the sandbox can't fill the host's disk through it.
  if [ "$run_options" != 0 ]; then
    mount -n -t tmpfs -o "$run_options" soulbox-run "$run_dir"
  fi
  exec unshare "$@"
fi

root=$1 source=$2 disk_options=$3 loopback=$4 owner=$5 seal=$6
shift 6

# /proc is the host's until the new root is in place, so that these are host pids.
read -r stat </proc/self/stat
echo "$stat" >"$dir/init"
[ ! -e "$dir/ending" ]

# Sets the lowest score that processes inside may take, so that the agent can shield itself from
# the killer in its own group; it raises its children's. Takes CAP_SYS_RESOURCE.
{ echo -900 >/proc/self/oom_score_adj; } 2>/dev/null || :
umask 022
ulimit -c 0
ulimit -n 65536 2>/dev/null || :
{ echo sandbox >/proc/sys/kernel/hostname; } 2>/dev/null || hostname sandbox || :
case $loopback in
  ip) ip link set lo up ;;
  ifconfig) ifconfig lo up ;;
  # SIOCGIFFLAGS, then SIOCSIFFLAGS with IFF_UP.
  perl)
    perl -e 'use Socket; socket(S, AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
      $r = pack("a16 s x22", "lo", 0); ioctl(S, 0x8913, $r) or die "flags: $!";
      ($n, $f) = unpack("a16 s", $r);
      $r = pack("a16 s x22", "lo", $f | 1); ioctl(S, 0x8914, $r) or die "up: $!";'
    ;;
esac

if [ -d "$source" ]; then
  mount -n -t tmpfs -o "$disk_options" soulbox "$root"
  cp -a "$source/." "$root/"
else
  cp --sparse=always "$source" "$dir/disk"
  mount -n -t ext4 -o "$disk_options" "$dir/disk" "$root"
fi
[ "$owner" = 0 ] || chown -R "$owner" "$root/home/user"
mount -n -a -T "$dir/fstab"
cd "$root"
pivot_root . .soulbox/old
cd /
umount -n -l /.soulbox/old

log=/.soulbox/run/agent.log
if [ "$seal" = 1 ]; then
  # The socket's directory is the host's disk: it turns read-only once the socket is there, which
  # is before anybody's program runs. The log would keep it writable.
  log=/.soulbox/agent.log
  (
    tries=3000
    while [ ! -S /.soulbox/run/agent.sock ] && [ "$tries" -gt 0 ]; do
      sleep 0.01
      tries=$((tries - 1))
    done
    exec mount -n -o remount,bind,ro,nosuid,nodev,noexec /.soulbox/run
  ) </dev/null >>"$log" 2>&1 3>&- &
fi

# A server that has died meanwhile doesn't take the sandbox along.
trap '' PIPE
echo ready >&3 || :
trap - PIPE
unset LC_ALL OLDPWD
# The agent becomes the first process: nothing inside can kill it, and it reaps the orphans.
exec "$@" /.soulbox/agent </dev/null >>"$log" 2>&1 3>&-
