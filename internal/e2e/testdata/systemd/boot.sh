#!/bin/sh
# A systemd as PID 1 of namespaces of its own, for systemd_test.go. `boot.sh up
# SCRATCH` boots it: SCRATCH/seed is copied into a root whose /usr is this
# machine's, with changes that stay in memory; its network is a loopback of its
# own. It ends with this process. `boot.sh down SCRATCH` removes the control group.
set -eu
scratch=$2
stage=${STAGE:-namespace}

if [ "$stage" = namespace ]; then
	export STAGE=group
	exec unshare --mount --propagation private -- "$0" "$@"
fi

if [ "$stage" = group ]; then
	# A control group of its own: systemd sees, and changes, nothing above it.
	mkdir -p "$scratch/cgroup"
	mount -t cgroup2 none "$scratch/cgroup"
	own=$(sed -n 's/^0:://p' /proc/self/cgroup)
	group=$scratch/cgroup${own%/}/$(basename "$scratch")
	if [ "$1" = down ]; then
		find "$group" -depth -type d -exec rmdir {} +
		exit
	fi
	mkdir "$group"
	echo $$ >"$group/cgroup.procs"
	export STAGE=root
	exec unshare --fork --kill-child --pid --mount --uts --ipc --cgroup --net -- "$0" "$@"
fi

root=$scratch/root
mkdir -p "$root"
mount -t tmpfs -o mode=755,size=1g none "$root"
cd "$root"
mkdir usr dev proc sys run etc opt var tmp root old upper work
chmod 1777 tmp
cp -R "$scratch/seed/." .
mount -t overlay -o "lowerdir=/usr,upperdir=$root/upper,workdir=$root/work" none usr
rm -f usr/sbin/policy-rc.d # what this machine says of its own services
for l in bin sbin lib lib64; do ln -s usr/$l $l; done
mount -t proc -o nosuid,nodev,noexec none proc
mount --bind proc/sys proc/sys # the kernel's settings are everybody's
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro,nosuid,nodev,noexec none sys
mount -t cgroup2 -o nosuid,nodev,noexec none sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid none dev
for n in null zero full random urandom tty; do
	: >dev/$n
	mount --bind /dev/$n dev/$n
done
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 none dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 none dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755,nosuid,nodev none run
hostname mx.example.test
pivot_root . old
cd /
umount -l /old
# Nothing that reaches beyond the namespaces: no modules, clock, raw devices.
exec env -i container=mtad PATH=/usr/sbin:/usr/bin \
	setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-syslog,-sys_boot \
	/lib/systemd/systemd --log-target=console --show-status=no
