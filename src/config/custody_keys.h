/*
 * The members of signing_keys that belong to back ends in processes of their own: a line each, for
 * the table of table.c. Who takes a member, and who needs it, are masks of hf_key_backend.
 */
#ifndef HF_CONFIG_CUSTODY_KEYS_H
#define HF_CONFIG_CUSTODY_KEYS_H

#define HF_ON(backend) (1U << HF_BACKEND_##backend)
#define HF_ON_MODULE (HF_ON(PKCS11) | HF_ON(AWS_CLOUDHSM) | HF_ON(YUBIHSM))
#define HF_ON_AWS (HF_ON(AWS_KMS) | HF_ON(AWS_SECRETS_MANAGER) | HF_ON(AWS_CLOUDHSM))
#define HF_ON_SERVER                                                                               \
    (HF_ON(VAULT) | HF_ON(AZURE_KEY_VAULT) | HF_ON(GCP_SECRET_MANAGER) | HF_ON(AWS_SECRETS_MANAGER))
#define HF_ON_ALL (HF_ON_MODULE | HF_ON_SERVER | HF_ON(AWS_KMS))

#define HF_CUSTODY_ROW(name, how, who_takes, who_needs, sentence)                                  \
    {                                                                                              \
        .path = "signing_keys[]." name, .type = HF_VALUE_CUSTODY, .kind = HF_CUSTODY_VALUE_##how,  \
        .takes = (who_takes), .needs = (who_needs), .flags = HF_KEY_NO_ENV, .help = (sentence)     \
    }

/* takes and needs are those of the members of signing_keys. */
#define HF_SEAL_ROW(name, how, sentence)                                                           \
    {                                                                                              \
        .path = "seal." name, .type = HF_VALUE_CUSTODY, .kind = HF_CUSTODY_VALUE_##how,            \
        .flags = HF_KEY_NO_ENV, .help = (sentence)                                                 \
    }

/* A row a member: */
/* clang-format off */
#define HF_CUSTODY_KEYS \
    HF_CUSTODY_ROW("module", FILE, HF_ON_MODULE, HF_ON(PKCS11), \
        "pkcs11: path of the PKCS#11 module; yubihsm, aws-cloudhsm: of the vendor's."), \
    HF_CUSTODY_ROW("module_env", MAP, HF_ON_MODULE, 0, \
        "pkcs11: variables for the module, such as SOFTHSM2_CONF."), \
    HF_CUSTODY_ROW("token_label", TEXT, HF_ON_MODULE, 0, \
        "pkcs11: which token, by its label."), \
    HF_CUSTODY_ROW("slot", NUMBER, HF_ON_MODULE, 0, \
        "pkcs11: which token, by its slot."), \
    HF_CUSTODY_ROW("token_dir", FOLDER, HF_ON_MODULE, 0, \
        "pkcs11: folder that the module itself writes in."), \
    HF_CUSTODY_ROW("pin_file", SECRET, HF_ON(PKCS11) | HF_ON(AWS_CLOUDHSM), HF_ON(PKCS11) | \
        HF_ON(AWS_CLOUDHSM), \
        "pkcs11: file of the PIN, mode 0600; aws-cloudhsm: of USER:PASSWORD."), \
    HF_CUSTODY_ROW("key_labels", LIST, HF_ON_MODULE, 0, \
        "pkcs11: labels of the keys that sign; without it, all."), \
    HF_CUSTODY_ROW("wrap_key", TEXT, HF_ON_MODULE, 0, \
        "pkcs11: label of the key that unwraps the keys in blob_dir."), \
    HF_CUSTODY_ROW("blob_dir", FOLDER, HF_ON_MODULE | HF_ON(AWS_KMS), 0, \
        "pkcs11, aws-kms: folder of wrapped keys, as holdfast key wrap writes them."), \
    HF_CUSTODY_ROW("connector_url", URL, HF_ON(YUBIHSM), HF_ON(YUBIHSM), \
        "yubihsm: URL of its connector."), \
    HF_CUSTODY_ROW("auth_key_id", NUMBER, HF_ON(YUBIHSM), HF_ON(YUBIHSM), \
        "yubihsm: number of the authentication key."), \
    HF_CUSTODY_ROW("auth_key_password_file", SECRET, HF_ON(YUBIHSM), HF_ON(YUBIHSM), \
        "yubihsm: file of its password, mode 0600."), \
    HF_CUSTODY_ROW("domains", NUMBER, HF_ON(YUBIHSM), 0, \
        "yubihsm: only keys of these domains, as bits; 0 for all."), \
    HF_CUSTODY_ROW("cluster_id", TEXT, HF_ON(AWS_CLOUDHSM), 0, \
        "aws-cloudhsm: the cluster."), \
    HF_CUSTODY_ROW("iam_role", TEXT, HF_ON_AWS, 0, \
        "aws-*: ARN of the role to take."), \
    HF_CUSTODY_ROW("region", TEXT, HF_ON_AWS, 0, \
        "aws-*: the region, where AWS's own variables and files do not say it."), \
    HF_CUSTODY_ROW("endpoint_url", URL, HF_ON_AWS | HF_ON(GCP_SECRET_MANAGER), 0, \
        "aws-*, gcp-secret-manager: URL of the service, where it is not the cloud's own."), \
    HF_CUSTODY_ROW("key_id", TEXT, HF_ON(AWS_KMS), 0, \
        "aws-kms: the one key that the blobs may be under."), \
    HF_CUSTODY_ROW("encryption_context", MAP, HF_ON(AWS_KMS), 0, \
        "aws-kms: what the blobs are bound to."), \
    HF_CUSTODY_ROW("sign_key_ids", LIST, HF_ON(AWS_KMS), 0, \
        "aws-kms: secp256k1 keys that sign inside."), \
    HF_CUSTODY_ROW("secret_ids", LIST, HF_ON(AWS_SECRETS_MANAGER), 0, \
        "aws-secrets-manager: the secrets; without it, all that the filters let through."), \
    HF_CUSTODY_ROW("prefixes", LIST, HF_ON(AWS_SECRETS_MANAGER), 0, \
        "aws-secrets-manager: only secrets whose names begin so."), \
    HF_CUSTODY_ROW("secret_tags", MAP, HF_ON(AWS_SECRETS_MANAGER), 0, \
        "aws-secrets-manager: only secrets with these tags."), \
    HF_CUSTODY_ROW("address", URL, HF_ON(VAULT), HF_ON(VAULT), \
        "vault: URL of the server."), \
    HF_CUSTODY_ROW("namespace", TEXT, HF_ON(VAULT), 0, \
        "vault: the namespace."), \
    HF_CUSTODY_ROW("mount", TEXT, HF_ON(VAULT), 0, \
        "vault: mount of the KV engine, where the path does not tell."), \
    HF_CUSTODY_ROW("path", TEXT, HF_ON(VAULT), HF_ON(VAULT), \
        "vault: one secret, or a folder of secrets."), \
    HF_CUSTODY_ROW("kv_version", NUMBER, HF_ON(VAULT), 0, \
        "vault: 1 or 2; asked where not given."), \
    HF_CUSTODY_ROW("field", TEXT, HF_ON(VAULT), 0, \
        "vault: the one field that holds keys; without it, all that do."), \
    HF_CUSTODY_ROW("auth", MAP, HF_ON(VAULT), 0, \
        "vault: how to log in: method (token, approle, kubernetes), mount, token_file, " \
        "role_id, role_id_file, secret_id_file, secret_id_wrapping_path, role, jwt_file."), \
    HF_CUSTODY_ROW("client_cert_file", FILE, HF_ON(VAULT), 0, \
        "vault: TLS client certificate in PEM."), \
    HF_CUSTODY_ROW("client_key_file", SECRET, HF_ON(VAULT), 0, \
        "vault: its key, mode 0600."), \
    HF_CUSTODY_ROW("vault_url", URL, HF_ON(AZURE_KEY_VAULT), HF_ON(AZURE_KEY_VAULT), \
        "azure-key-vault: its URL, https://NAME.vault.azure.net."), \
    HF_CUSTODY_ROW("secret_name", TEXT, HF_ON(AZURE_KEY_VAULT) | HF_ON(GCP_SECRET_MANAGER), 0, \
        "azure-key-vault, gcp-secret-manager: the one secret; without it, all."), \
    HF_CUSTODY_ROW("name_prefix", TEXT, HF_ON(AZURE_KEY_VAULT), 0, \
        "azure-key-vault: only secrets whose names begin so."), \
    HF_CUSTODY_ROW("auth_mode", TEXT, HF_ON(AZURE_KEY_VAULT), 0, \
        "azure-key-vault: client-secret, managed-identity or workload-identity."), \
    HF_CUSTODY_ROW("tenant_id", TEXT, HF_ON(AZURE_KEY_VAULT), 0, \
        "azure-key-vault: the tenant."), \
    HF_CUSTODY_ROW("client_id", TEXT, HF_ON(AZURE_KEY_VAULT), 0, \
        "azure-key-vault: who logs in."), \
    HF_CUSTODY_ROW("client_secret_file", SECRET, HF_ON(AZURE_KEY_VAULT), 0, \
        "azure-key-vault: file of its secret, mode 0600."), \
    HF_CUSTODY_ROW("federated_token_file", FILE, HF_ON(AZURE_KEY_VAULT), 0, \
        "azure-key-vault: file of a workload's token."), \
    HF_CUSTODY_ROW("authority_url", URL, HF_ON(AZURE_KEY_VAULT), 0, \
        "azure-key-vault: who gives tokens, where it is not Microsoft's own."), \
    HF_CUSTODY_ROW("metadata_url", URL, HF_ON(AZURE_KEY_VAULT) | HF_ON(GCP_SECRET_MANAGER), 0, \
        "azure-key-vault, gcp-secret-manager: the machine's metadata service."), \
    HF_CUSTODY_ROW("project_id", TEXT, HF_ON(GCP_SECRET_MANAGER), HF_ON(GCP_SECRET_MANAGER), \
        "gcp-secret-manager: the project."), \
    HF_CUSTODY_ROW("filter", TEXT, HF_ON(GCP_SECRET_MANAGER), 0, \
        "gcp-secret-manager: only secrets that this filter finds."), \
    HF_CUSTODY_ROW("credentials_file", SECRET, HF_ON(GCP_SECRET_MANAGER), 0, \
        "gcp-secret-manager: file of a service account's key, mode 0600."), \
    HF_CUSTODY_ROW("key_type", TEXT, HF_ON_SERVER, 0, \
        "Of secrets that do not say: BLS or SECP256K1."), \
    HF_CUSTODY_ROW("ca_file", FILE, HF_ON_ALL, 0, \
        "Authorities in PEM instead of the system's."), \
    HF_CUSTODY_ROW("timeout_ms", NUMBER, HF_ON_ALL, 0, \
        "How long listing the keys may take; 60000 where not given."), \
    HF_CUSTODY_ROW("threads", NUMBER, HF_ON_ALL, 0, \
        "Threads that sign; 8 where not given.")
/* How holders of the seal that are tokens or keys in a cloud are reached: never which. */
#define HF_SEAL_KEYS \
    HF_SEAL_ROW("pkcs11.module", FILE, \
        "pkcs11: path of the module behind which the seal's token is."), \
    HF_SEAL_ROW("pkcs11.module_env", MAP, \
        "pkcs11: variables for the module."), \
    HF_SEAL_ROW("pkcs11.token_label", TEXT, \
        "pkcs11: which token, by its label."), \
    HF_SEAL_ROW("pkcs11.slot", NUMBER, \
        "pkcs11: which token, by its slot."), \
    HF_SEAL_ROW("pkcs11.token_dir", FOLDER, \
        "pkcs11: folder that the module itself writes in."), \
    HF_SEAL_ROW("pkcs11.pin_file", SECRET, \
        "pkcs11: file of the PIN, mode 0600."), \
    HF_SEAL_ROW("awskms.region", TEXT, \
        "awskms: the region, where AWS's own variables and files do not say it."), \
    HF_SEAL_ROW("awskms.endpoint_url", URL, \
        "awskms: URL of the service, where it is not AWS's own."), \
    HF_SEAL_ROW("awskms.iam_role", TEXT, \
        "awskms: ARN of the role to take.")
/* clang-format on */

#endif
