#!/usr/bin/env bash
# A small real SLURM cluster on this machine: two nodes of eight GPUs that are not there, accounting,
# a partition `urgent` that preempts `debug`, one account `lab`. Debian, root, no systemd.
#
#   cluster.sh start DIR    install what is missing, start, wait for the nodes; then export
#                           SLURM_CONF=DIR/slurm.conf
#   cluster.sh stop DIR     cancel what runs, end the daemons
#
# PORT=7817 is the first of six ports; ACCOUNTING=no leaves the database and sacct out.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
die() { echo "cluster: $*" >&2; exit 1; }

[ $# = 2 ] || die "usage: cluster.sh start|stop DIR"
[ "$(id -u)" = 0 ] || die "only root can start daemons that run jobs"
mkdir -p "$2"
DIR=$(cd "$2" && pwd -P) PORT=${PORT:-7817} ACCOUNTING=${ACCOUNTING:-yes}
export SLURM_CONF=$DIR/slurm.conf
SOCKET=$DIR/munge.socket

# until_true SECONDS COMMAND...
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "waited in vain for: $*; see $DIR/*.log"
        sleep 0.1
    done
}

install_packages() {
    local packages=(munge slurmctld slurmd slurm-client)
    [ "$ACCOUNTING" = no ] || packages+=(slurmdbd mariadb-server-core mariadb-client-core)
    dpkg -s "${packages[@]}" >/dev/null 2>&1 && return
    command -v apt-get >/dev/null || die "no apt-get to install ${packages[*]}"
    { apt-get update && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${packages[@]}"; } >"$DIR/apt.log" 2>&1 ||
        die "apt-get failed, see $DIR/apt.log"
}

configure() {
    local storage="AccountingStorageType=accounting_storage/none"
    [ "$ACCOUNTING" = no ] || storage="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$((PORT + 1))
AccountingStoragePass=$SOCKET
AccountingStorageEnforce=associations"
    # A GPU must be a character device of its own name: a link to one will do.
    mkdir -p "$DIR"/{dev,state,spool/node1,spool/node2}
    for n in 0 1 2 3 4 5 6 7; do ln -sfn /dev/null "$DIR/dev/gpu$n"; done
    echo "NodeName=node[1-2] Name=gpu File=$DIR/dev/gpu[0-7]" >"$DIR/gres.conf"
    # slurmd loads a plugin for cgroups though nothing uses them, and its own choice may end it.
    echo "CgroupPlugin=cgroup/v1" >"$DIR/cgroup.conf"
    # cred_expire is how long a requeued job waits, 5 s at least; preemption sends the job's own signal first.
    cat >"$SLURM_CONF" <<END
ClusterName=ci
SlurmctldHost=localhost
SlurmctldPort=$PORT
SlurmUser=root
AuthInfo=socket=$SOCKET,cred_expire=5
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool/%n
SlurmctldPidFile=$DIR/slurmctld.pid
SlurmdPidFile=$DIR/slurmd-%n.pid
SlurmctldLogFile=$DIR/slurmctld.log
SlurmdLogFile=$DIR/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
EnforcePartLimits=ALL
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
ReturnToService=2
MailProg=/bin/true
GresTypes=gpu
$storage
NodeName=node[1-2] NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=[$((PORT + 3))-$((PORT + 4))] CPUs=64 Boards=1 SocketsPerBoard=1 CoresPerSocket=64 ThreadsPerCore=1 RealMemory=1024000 Gres=gpu:8 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
PartitionName=urgent Nodes=ALL State=UP PriorityTier=10 PreemptMode=OFF
END
    cat >"$DIR/slurmdbd.conf" <<END
AuthType=auth/munge
AuthInfo=socket=$SOCKET
DbdHost=localhost
DbdPort=$((PORT + 1))
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((PORT + 2))
StorageUser=slurm
StoragePass=slurm
LogFile=$DIR/slurmdbd.log
PidFile=$DIR/slurmdbd.pid
END
    chmod 600 "$DIR/slurmdbd.conf"
    cat >"$DIR/database.sql" <<END
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';
END
}

start_accounting() {
    local options=(--no-defaults --user=root --datadir="$DIR/db")
    [ -d "$DIR/db/mysql" ] || mariadb-install-db "${options[@]}" --skip-test-db \
        --auth-root-authentication-method=socket >"$DIR/database.log" 2>&1
    setsid mariadbd "${options[@]}" --socket="$DIR/database.socket" \
        --pid-file="$DIR/mariadbd.pid" --init-file="$DIR/database.sql" --bind-address=127.0.0.1 \
        --port=$((PORT + 2)) --skip-name-resolve --skip-log-bin --innodb-buffer-pool-size=64M \
        --innodb-flush-log-at-trx-commit=0 </dev/null >>"$DIR/database.log" 2>&1 &
    until_true 60 bash -c "exec 3<>/dev/tcp/127.0.0.1/$((PORT + 2))"
    slurmdbd </dev/null >>"$DIR/slurmdbd.log" 2>&1
    until_true 60 sacctmgr -n list cluster
}

add_account() { # the controller has to have made the cluster known
    until_true 30 sh -c "sacctmgr -nP list cluster | grep -q ."
    sacctmgr -iQ add account lab >/dev/null || true
    sacctmgr -iQ add user "$(id -un)" account=lab defaultaccount=lab >/dev/null || true
}

start() {
    install_packages
    configure
    [ -s "$DIR/munge.key" ] || (umask 077; head -c 1024 /dev/urandom >"$DIR/munge.key")
    munged --force --socket="$SOCKET" --key-file="$DIR/munge.key" --pid-file="$DIR/munged.pid" \
        --log-file="$DIR/munged.log" --seed-file="$DIR/munge.seed" 2>>"$DIR/munged.log"
    [ "$ACCOUNTING" = no ] || start_accounting
    slurmctld </dev/null >>"$DIR/slurmctld.log" 2>&1
    until_true 30 scontrol ping
    [ "$ACCOUNTING" = no ] || add_account
    for n in 1 2; do slurmd -N "node$n" </dev/null >>"$DIR/slurmd-node$n.log" 2>&1; done
    until_true 30 sh -c '[ "$(sinfo -hN -p debug -t idle | wc -l)" = 2 ]'
    echo "cluster: export SLURM_CONF=$SLURM_CONF"
}

stop() {
    local pid
    [ -e "$SLURM_CONF" ] || return 0
    timeout 20 scancel -u "$(id -un)" 2>/dev/null || true
    for _ in $(seq 100); do
        [ -n "$(timeout 10 squeue -h 2>/dev/null)" ] || break
        sleep 0.1
    done
    for name in slurmd-node1 slurmd-node2 slurmctld slurmdbd mariadbd munged; do
        [ -s "$DIR/$name.pid" ] || continue
        read -r pid <"$DIR/$name.pid"
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 100); do [ -e "/proc/$pid" ] || break; sleep 0.1; done
        rm -f "$DIR/$name.pid"
    done
}

case $1 in
    start) start ;;
    stop) stop ;;
    *) die "usage: cluster.sh start|stop DIR" ;;
esac
