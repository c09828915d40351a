#!/usr/bin/env bash
# flash-sd.sh: makes an SD card whose gateway enrols itself and reports, without a keyboard ever being attached.
#
#   flash-sd.sh --image debian.img[.xz|.gz] --deb avl-edge_…_arm64.deb [--config avl-edge.toml] [--enrolment avl-enrol.txt]
#               (--out card.img | --device /dev/sdX [--yes])
#
#   --image      an image for the board with a FAT boot partition and an ext4 root that starts systemd, such as Raspberry Pi OS
#   --deb        the agent's package for that board; installed at the first boot
#   --config     becomes /etc/avl-edge.toml
#   --enrolment  one gateway's single-use enrolment ('avl-cloud token --text'); goes to avl-enrol.txt on the boot partition,
#                which any computer can read and write, and is removed once the gateway has its certificate
#   --out        write an image file; --device writes a card and asks before it does (--yes does not)
#
# Nothing is mounted and no root is needed for --out: the file systems are written through mtools and debugfs.
set -euo pipefail
# Where file system tools are, also for people who are not root.
PATH=$PATH:/sbin:/usr/sbin
here=$(cd "$(dirname "$0")" && pwd)
fail() { printf 'flash-sd: %s\n' "$@" >&2; exit 1; }
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"; exit "${1:-0}"; }

image= deb= config= enrolment= out= device= yes=
while [ $# -gt 0 ]; do
    case $1 in
    --image | --deb | --config | --enrolment | --out | --device)
        [ $# -ge 2 ] || fail "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    --yes) yes=1; shift ;;
    -h | --help) usage ;;
    *) fail "unknown option '$1'; see --help" ;;
    esac
done
[ -n "$image" ] && [ -n "$deb" ] || usage 2
[ -n "$out" ] || [ -n "$device" ] || fail "where to? give --out FILE or --device /dev/sdX"
[ -z "$out" ] || [ -z "$device" ] || fail "give --out or --device, not both"
for file in "$image" "$deb" ${config:+"$config"} ${enrolment:+"$enrolment"}; do
    [ -r "$file" ] || fail "cannot read $file"
done
for tool in sfdisk:fdisk mcopy:mtools debugfs:e2fsprogs dpkg-deb:dpkg python3:python3; do
    command -v "${tool%:*}" >/dev/null || fail "${tool%:*} is missing: apt-get install ${tool#*:}"
done
[ "$(dpkg-deb --field "$deb" Package 2>/dev/null)" = avl-edge ] || fail "$deb is not a package of avl-edge"
if [ -n "$enrolment" ] && ! grep -q . "$enrolment"; then
    fail "$enrolment is empty: make one with 'avl-cloud token --text'"
fi
if [ -n "$device" ]; then
    [ -b "$device" ] || fail "$device is not a block device; lsblk lists them"
    if lsblk -nro MOUNTPOINT "$device" | grep -q .; then
        fail "$device is in use: unmount it first (umount ${device}*), and make sure that it is the card"
    fi
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
card=${out:-$work/card.img}
echo "flash-sd: unpacking $image"
case $image in
*.xz) xz --decompress --stdout "$image" >"$card" ;;
*.gz) gzip --decompress --stdout "$image" >"$card" ;;
*) cp --sparse=always "$image" "$card" ;;
esac

# "boot START" and "root START", in bytes: the first FAT (or EFI) partition and the largest Linux one.
table=$(sfdisk --json "$card" 2>/dev/null) || fail "$image has no partition table: give a whole card's image, not one of a partition"
partitions=$(python3 -c '
import json, sys
table = json.loads(sys.argv[1])["partitiontable"]
sector = table.get("sectorsize", 512)
FAT = {"1", "4", "6", "b", "c", "e", "ef", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"}
LINUX = {"83", "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "B921B045-1DF0-41C3-AF44-4C6F280D3FAE", "69DAD710-2CE4-4E3C-B16C-21A1D49ABED3"}
parts = table["partitions"]
boot = [p for p in parts if p["type"] in FAT]
root = sorted((p for p in parts if p["type"] in LINUX), key=lambda p: -p["size"])
if not boot or not root:
    sys.exit("no FAT and Linux partition in it: " + ", ".join(p["type"] for p in parts))
print("boot", boot[0]["start"] * sector)
print("root", root[0]["start"] * sector)
' "$table") || fail "$image is no card image that this can prepare (see above)"
boot=$(sed -n 's/^boot //p' <<<"$partitions")
root=$(sed -n 's/^root //p' <<<"$partitions")

# debugfs goes on after an error and ends with success: what it says is what tells.
ext4() {
    local said
    said=$(debugfs -w -R "$1" "$card?offset=$root" 2>&1 | sed '1d; /^Allocated inode/d')
    [ -z "$said" ] || fail "root file system: $1: $said"
}
put() { # FILE PATH-ON-ROOT MODE
    debugfs -w -R "rm $2" "$card?offset=$root" >/dev/null 2>&1 || true
    ext4 "write $1 $2"
    ext4 "set_inode_field $2 mode 0$3"
    ext4 "set_inode_field $2 uid 0"
    ext4 "set_inode_field $2 gid 0"
}
folder() {
    local path=
    local part
    for part in ${1//\// }; do
        path=$path/$part
        debugfs -R "stat $path" "$card?offset=$root" 2>/dev/null | grep -q 'Type: directory' || ext4 "mkdir $path"
    done
}
echo "flash-sd: root partition: package, first-boot unit${config:+, configuration}"
folder var/cache/avl-edge
folder etc/systemd/system/multi-user.target.wants
put "$deb" /var/cache/avl-edge/avl-edge.deb 100644
put "$here/sd/avl-edge-firstboot.service" /etc/systemd/system/avl-edge-firstboot.service 100644
wants=/etc/systemd/system/multi-user.target.wants/avl-edge-firstboot.service
debugfs -R "stat $wants" "$card?offset=$root" 2>/dev/null | grep -q 'Type: symlink' ||
    ext4 "symlink $wants /etc/systemd/system/avl-edge-firstboot.service"
if [ -n "$config" ]; then
    put "$config" /etc/avl-edge.toml 100644
fi
if [ -n "$enrolment" ]; then
    echo "flash-sd: boot partition: enrolment"
    mcopy -o -i "$card@@$boot" "$enrolment" ::avl-enrol.txt || fail "the boot partition cannot be written"
fi

if [ -n "$device" ]; then
    echo "flash-sd: about to overwrite all of $device: $(lsblk -dno SIZE,MODEL "$device")"
    if [ -z "$yes" ]; then
        read -rp "Type $device to go on: " answer
        [ "$answer" = "$device" ] || fail "not written"
    fi
    dd if="$card" of="$device" bs=4M conv=fsync oflag=direct status=progress
    echo "flash-sd: done; the card may be taken out"
else
    echo "flash-sd: $out is ready; write it with any imaging tool"
fi
