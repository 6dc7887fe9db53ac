#!/bin/sh
# Put a backup where a Redis with deploy/redis.conf finds it at its next start:
#
#   systemctl stop redis-server && mv /var/lib/redis/appendonlydir /root/old
#   deploy/restore.sh backup.rdb /var/lib/redis && systemctl start redis-server
#
# Redis reads only the append-only file where that is on. A dump.rdb beside it is ignored,
# and then written over; so the backup becomes the first part of an append-only file.
set -eu
backup=$1 data=$2
"$(command -v redis-check-rdb || command -v valkey-check-rdb)" "$backup"
mkdir "$data/appendonlydir" # fails where there is one: nothing is written over
cp "$backup" "$data/appendonlydir/appendonly.aof.1.base.rdb"
echo "file appendonly.aof.1.base.rdb seq 1 type b" \
    > "$data/appendonlydir/appendonly.aof.manifest"
chown -R "$(stat -c %u:%g "$data")" "$data/appendonlydir"
