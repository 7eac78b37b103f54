/* Which frames and which channels there are. Included by ipc.h. */
#ifndef HF_IPC_TYPES_H
#define HF_IPC_TYPES_H

/* Back ends of custody: one an entry of signing_keys, and one an entry of seal. */
#define HF_CUSTODIES_MAX 18

typedef enum hf_msg_type {
    /* supervisor -> child: the first frame */
    HF_MSG_KEEPER_CONFIG = 1,
    HF_MSG_FRONT_CONFIG,
    HF_MSG_LOADER_CONFIG,
    /* supervisor -> keeper, front or relay, with one descriptor: a new channel */
    HF_MSG_NEW_CHANNEL,
    /* supervisor -> child */
    HF_MSG_SHUTDOWN, /* keeper: finish what is under way, exit 0; front: drain, exit 0 */
    /* keeper -> supervisor */
    HF_MSG_READY,         /* also front, store, duty -> supervisor, then again as a sign of life */
    HF_MSG_LOAD_WANTED,   /* spawn a loader over the configured sources */
    HF_MSG_IMPORT_WANTED, /* with one descriptor: spawn a loader on it */

    /* front -> keeper and back */
    HF_MSG_SIGN,
    HF_MSG_SIGN_REPLY,
    HF_MSG_COUNT, /* no reply */
    HF_MSG_SOON,  /* no reply: SIGN comes as soon as its request is read */
    HF_MSG_METRICS,
    HF_MSG_METRICS_REPLY,
    HF_MSG_AUTHORIZE,
    HF_MSG_KEY_IMPORT, /* with one descriptor: keystore and password */
    HF_MSG_KEY_DELETE,

    /* front or admin -> keeper and back */
    HF_MSG_RESULT, /* the reply where a type has none of its own */
    HF_MSG_KEYS,
    HF_MSG_KEYS_REPLY,
    HF_MSG_STATUS,
    HF_MSG_HEALTH, /* answered by STATUS_REPLY, without what only some may know */
    HF_MSG_STATUS_REPLY,
    HF_MSG_RELOAD,
    HF_MSG_EXPORT_OPEN,
    HF_MSG_EXPORT_READ,
    HF_MSG_EXPORT_PAGE,
    HF_MSG_IMPORT_BEGIN,
    HF_MSG_IMPORT_ADD,
    HF_MSG_IMPORT_COMMIT,
    HF_MSG_IMPORT_ABORT,
    HF_MSG_IMPORT_REPORT,

    /* admin -> keeper and back */
    HF_MSG_PRUNE,
    HF_MSG_STORE_STATUS,
    HF_MSG_STORE_STATUS_REPLY,
    HF_MSG_RAISE_FLOORS,
    HF_MSG_SET_HIGH,

    /* loader -> keeper and back */
    HF_MSG_LOAD_BEGIN,
    HF_MSG_SOURCE,
    HF_MSG_SOURCE_REPLY,
    HF_MSG_KEY,
    HF_MSG_KEY_FAILED,
    HF_MSG_KEY_PERSISTED,
    HF_MSG_LOAD_DONE,

    /* front -> keeper and back */
    HF_MSG_DUTY_SIGN,
    HF_MSG_DUTY_REPLY,
    /* keeper -> who asks the database for locks, and back */
    HF_MSG_DUTY_ACQUIRE,
    HF_MSG_DUTY_COMPLETE,
    HF_MSG_DUTY_RELEASE,
    HF_MSG_DUTY_ANSWER,
    HF_MSG_DUTY_STATE,
    HF_MSG_DUTY_CONFIG, /* supervisor -> child, as the ones above */

    /* supervisor -> store: the first frame */
    HF_MSG_STORE_CONFIG,
    /* keeper -> store and back */
    HF_MSG_STORE_MESSAGES,
    HF_MSG_STORE_VERDICTS,
    HF_MSG_STORE_CALL,
    HF_MSG_STORE_RESULT,
    HF_MSG_STORE_EXPORT,
    HF_MSG_STORE_NEXT,
    HF_MSG_STORE_PAGE,
    HF_MSG_STORE_HELLO,
    HF_MSG_STORE_CHANGE,
    HF_MSG_STORE_RECORDS,

    /* front or admin -> keeper and back */
    HF_MSG_TOKEN_CREATE,
    HF_MSG_TOKEN_CREATED,
    HF_MSG_TOKEN_LIST,
    HF_MSG_TOKEN_PAGE,
    HF_MSG_TOKEN_REVOKE,

    /* front, admin or supervisor -> keeper and back: the seal machine */
    HF_MSG_SEAL_STATUS,
    HF_MSG_SEAL_STATUS_REPLY,
    HF_MSG_SEAL_BEGIN,
    HF_MSG_SEAL_SHARES,
    HF_MSG_SEAL_REGISTER,
    HF_MSG_SEAL_SUBMIT,
    HF_MSG_SEAL_CLOSE,
    HF_MSG_SEAL_CANCEL,
    HF_MSG_SEAL_KEYS_WANTED, /* keeper -> supervisor: SEAL_SUBMIT for each key file, please */
    HF_MSG_SEALED_ADD,
    HF_MSG_SEALED_ADDED,
    HF_MSG_SEALED_CHANGE,
    HF_MSG_SEALED_LIST,
    HF_MSG_SEALED_LISTED,
    HF_MSG_POLICY_BOOK, /* supervisor -> keeper, with one descriptor */
    HF_MSG_CANARY,      /* keeper -> supervisor */
    /* front or admin -> keeper and back */
    HF_MSG_POLICY_PUT, /* with one descriptor */
    HF_MSG_POLICY_GET,
    HF_MSG_POLICY_PART,
    HF_MSG_POLICY_LIST,
    HF_MSG_POLICY_PAGE,
    HF_MSG_POLICY_DELETE,
    HF_MSG_EXIT_APPROVE,

    /* front -> keeper and back */
    HF_MSG_ETH1_SIGN, /* with a descriptor where the bytes are many */
    HF_MSG_ETH1_REPLY,
    HF_MSG_ETH1_KEYS,
    HF_MSG_ETH1_KEYS_REPLY,

    HF_MSG_CUSTODY_CONFIG, /* supervisor -> a back end of custody: the first frame */
    /* keeper -> back end */
    HF_MSG_CUSTODY_LIST,
    HF_MSG_CUSTODY_SIGN,
    HF_MSG_CUSTODY_WRAP,
    HF_MSG_CUSTODY_UNWRAP,
    /* and back */
    HF_MSG_CUSTODY_BEGIN,
    HF_MSG_CUSTODY_KEY,
    HF_MSG_CUSTODY_FAILED,
    HF_MSG_CUSTODY_DONE,
    HF_MSG_CUSTODY_SIGNED,
    HF_MSG_CUSTODY_WRAPPED, /* of WRAP and UNWRAP */
    HF_MSG_CUSTODY_STATE,

    HF_MSG_NODE_CALL, /* front -> keeper, answered by RESULT: may the caller's call go to the node?
                       */
    HF_MSG_RELAY_CONFIG, /* supervisor -> relay: the first frame */
    /* front -> relay, with one descriptor, and back */
    HF_MSG_RELAY_ASK,
    HF_MSG_RELAY_ANSWER,
    HF_MSG_RELAY_HELLO,
    HF_MSG_COUNT_TYPES
} hf_msg_type;

typedef enum hf_channel {
    HF_CHANNEL_CONTROL = 0, /* supervisor and keeper, or supervisor and front */
    HF_CHANNEL_FRONT,
    HF_CHANNEL_ADMIN,
    HF_CHANNEL_LOADER,       /* a load over the configured sources */
    HF_CHANNEL_IMPORT,       /* a loader on one imported keystore */
    HF_CHANNEL_DUTY,         /* the process that asks the database for duty locks */
    HF_CHANNEL_STORE,        /* a lane to the store process */
    HF_CHANNEL_CUSTODY_KEYS, /* a back end of custody: which keys it has */
    HF_CHANNEL_CUSTODY,      /* the same one: signatures, and how it is */
    HF_CHANNEL_RELAY,        /* between a front and the relay */
    HF_CHANNEL_COUNT
} hf_channel;

#endif
