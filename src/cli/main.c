/* holdfast: one program, many commands; this file only finds the one that was meant. */
#include "cli.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const hf_cli_verb commands[] = {
    {"serve", "run the signer in the foreground", hf_cli_serve},
    {"check", "is this configuration good, and what does it come to", hf_cli_check},
    {"doctor", "is this machine, and the running signer, as hardened as it should be",
     hf_cli_doctor},
    {"key", "make, import and list keys; deposit data", hf_cli_key},
    {"slashing", "import, export, prune and inspect the record of what was signed",
     hf_cli_slashing},
    {"audit", "does the audit log hold, and what does it say", hf_cli_audit},
    {"seal", "who can open the sealed keys of a running signer", hf_cli_seal},
    {"db", "make and remove the tables of a shared database", hf_cli_db},
    {"policy", "what tokens may ask for; the second approval of exits", hf_cli_policy},
    {"token", "make, list and revoke the tokens that requests have to show", hf_cli_token},
};

/* Whatever the command is, it may meet a secret: no core dump, no debugger, no readable file. */
static void protect_process(void)
{
    const struct rlimit none = {0, 0};
    (void)umask(077);
    (void)setrlimit(RLIMIT_CORE, &none);
#ifndef HF_SANITIZED /* the leak checker attaches to us at exit */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

static bool is_version(const char *word)
{
    return strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0 ||
           strcmp(word, "version") == 0;
}

int main(int argc, char **argv)
{
    int status = HF_EXIT_DONE;
    protect_process();
    if (argc == 2 && is_version(argv[1])) {
        (void)printf("holdfast %s\n", HF_VERSION);
    } else {
        status = hf_cli_dispatch("",
                                 "Holds every secret that a validator depends on, and refuses any "
                                 "signature that could get it slashed.",
                                 commands, HF_ARRAY_LEN(commands), argc, argv);
    }
    /* A full disk or a closed pipe must not look like success. */
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && status == HF_EXIT_DONE) {
        status = hf_cli_complain(HF_EXIT_FAILED, "the output could not be written");
    }
    return status;
}
