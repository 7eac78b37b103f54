/* The files that opening connections takes on any machine. */
#include "harden/harden.h"

/* Name resolution, time zones, OpenSSL's and GnuTLS's own files, the usual authorities. */
const char *const hf_harden_network_paths[] = {
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/pki",
    "/usr/lib/ssl",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/etc/localtime",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/usr/share/zoneinfo",
    NULL,
};
