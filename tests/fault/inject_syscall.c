/*
 * Makes a running process call the kernel, as code that took it over would.
 *
 * inject_syscall PID NUMBER [ARGUMENT]...   An argument is a number, or s:TEXT for the address of
 * that text.
 *
 * Prints "killed SIGNAL" when the call was the process's end, else "returned VALUE" and lets it go
 * on as if nothing had happened. The process's first thread has to wait in a system call, as event
 * loops do. Exit status 77: not on this machine.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIP 77
#define ARGUMENTS_MAX 6

#if defined(__x86_64__)

#define TEXT_BYTES 256
/* Below the stack's end and the 128 bytes under it that compilers use. */
#define TEXT_BELOW 4096
#define SYSCALL_INSTRUCTION 0x050f
#define TRIES 200

static bool put_text(pid_t pid, uint64_t at, const char *text)
{
    char padded[TEXT_BYTES] = {0};
    (void)snprintf(padded, sizeof padded, "%s", text);
    for (size_t i = 0; i < sizeof padded; i += sizeof(long)) {
        long word;
        memcpy(&word, padded + i, sizeof word);
        if (ptrace(PTRACE_POKEDATA, pid, at + i, word) != 0) {
            return false;
        }
    }
    return true;
}

/* Stops it where it waits in a system call: the two bytes before the next instruction tell. */
static bool stop_in_a_call(pid_t pid, struct user_regs_struct *ret_regs)
{
    for (int i = 0; i < TRIES; i++) {
        int status = 0;
        if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0 ||
            waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status) ||
            ptrace(PTRACE_GETREGS, pid, NULL, ret_regs) != 0) {
            return false;
        }
        errno = 0;
        long word = ptrace(PTRACE_PEEKTEXT, pid, ret_regs->rip - 2, NULL);
        if (errno == 0 && (word & 0xffff) == SYSCALL_INSTRUCTION) {
            return true;
        }
        (void)ptrace(PTRACE_CONT, pid, NULL, NULL);
        (void)usleep(5000);
    }
    return false;
}

static bool load_arguments(pid_t pid, struct user_regs_struct *regs, int argc, char **argv)
{
    unsigned long long *const places[ARGUMENTS_MAX] = {&regs->rdi, &regs->rsi, &regs->rdx,
                                                       &regs->r10, &regs->r8,  &regs->r9};
    uint64_t text_at = (regs->rsp - TEXT_BELOW) & ~(uint64_t)15;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "s:", 2) != 0) {
            *places[i] = (unsigned long long)strtoll(argv[i], NULL, 0);
            continue;
        }
        if (!put_text(pid, text_at, argv[i] + 2)) {
            return false;
        }
        *places[i] = text_at;
        text_at -= TEXT_BYTES;
    }
    return true;
}

static int inject(pid_t pid, long number, int argc, char **argv)
{
    struct user_regs_struct before;
    struct user_regs_struct regs;
    int status = 0;
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0) {
        (void)fprintf(stderr, "ptrace: %s\n", strerror(errno));
        return SKIP;
    }
    if (!stop_in_a_call(pid, &before)) {
        (void)fprintf(stderr, "it never waits in a system call\n");
        return 1;
    }
    regs = before;
    regs.rip -= 2;
    regs.rax = (unsigned long long)number;
    regs.orig_rax = (unsigned long long)-1; /* nothing is restarted */
    if (!load_arguments(pid, &regs, argc, argv) || ptrace(PTRACE_SETREGS, pid, NULL, &regs) != 0) {
        return 1;
    }
    do {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0 ||
            waitpid(pid, &status, __WALL) != pid) {
            (void)printf("killed %d\n", SIGKILL);
            return 0;
        }
        if (!WIFSTOPPED(status)) {
            (void)printf("killed %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
            return 0;
        }
    } while (ptrace(PTRACE_GETREGS, pid, NULL, &regs) == 0 && regs.rip == before.rip - 2);
    (void)printf("returned %lld\n", (long long)regs.rax);
    if (ptrace(PTRACE_SETREGS, pid, NULL, &before) != 0) {
        return 1;
    }
    return ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0 ? 0 : 1;
}

#else

static int inject(pid_t pid, long number, int argc, char **argv)
{
    (void)pid;
    (void)number;
    (void)argc;
    (void)argv;
    (void)fprintf(stderr, "written for x86-64\n");
    return SKIP;
}

#endif

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 3 + ARGUMENTS_MAX) {
        (void)fprintf(stderr, "usage: inject_syscall PID NUMBER [ARGUMENT]...\n");
        return 2;
    }
    return inject((pid_t)strtol(argv[1], NULL, 10), strtol(argv[2], NULL, 10), argc - 3, argv + 3);
}
