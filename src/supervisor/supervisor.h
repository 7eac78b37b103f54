/*
 * supervisor: `holdfast serve`. Reads the configuration, owns the data folder and the listening
 * sockets, starts the other processes, gives them their channels, and replaces a front that died.
 * It holds no key, reads nothing that a client sent, and ends when the keeper ends.
 */
#ifndef HF_SUPERVISOR_H
#define HF_SUPERVISOR_H

#include "base/base.h"
#include "config/config.h"

/*
 * Runs the signer until SIGTERM or SIGINT; SIGHUP reloads the keys and the TLS files. Returns the
 * exit status of the program: 0 stopped as told, 1 it could not start or go on (the log says why),
 * 2 the configuration cannot be had here. One thread, which it takes over with its signals.
 */
int hf_serve(const hf_config_flags *flags, const hf_config *config);

/*
 * Makes the data folder (0700; its parent must be there) and locks it: one signer, or one command
 * that works on a stopped signer's store, at a time. The lock lasts as long as *ret_fd is open.
 * CONFLICT when somebody has it; DENIED when the folder is another user's or open to others.
 */
hf_status hf_data_dir_lock(const char *data_dir, int *ret_fd, hf_error *err) HF_MUST_CHECK;

/*
 * The folder of the private programs: beside our own, in ../libexec/holdfast, else where
 * they were built to be installed.
 */
hf_status hf_programs_find(char *out, size_t out_len, hf_error *err) HF_MUST_CHECK;

#endif
