/* systemd's readiness and watchdog protocol (sd_notify(3)), without its library: datagrams. */
#include "supervisor/supervisor_internal.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void hf_notify(const char *state)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const char *where = getenv("NOTIFY_SOCKET");
    if (where == NULL || (where[0] != '/' && where[0] != '@') || where[1] == '\0' ||
        hf_failed(hf_str_copy(name.sun_path, sizeof name.sun_path, where))) {
        return;
    }
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(where));
    if (name.sun_path[0] == '@') {
        name.sun_path[0] = '\0'; /* the abstract namespace */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&name,
                 len);
    (void)close(fd);
}
