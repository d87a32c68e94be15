#!/bin/sh
# In a test machine, plugs in or unplugs what joins dummy_udc.PORT to its root hub: cable.sh plug|unplug [PORT]
set -eu
case ${1:-} in
plug) disable=0 ;;
unplug) disable=1 ;;
*) echo "usage: $0 plug|unplug [PORT]" >&2 && exit 2 ;;
esac
for file in "/sys/devices/platform/dummy_hcd.${2:-0}"/usb*/*-0:1.0/usb*-port1/disable; do
    echo "$disable" >"$file"
done
