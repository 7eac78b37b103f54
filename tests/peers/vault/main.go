// A HashiCorp Vault of the pinned module, in memory and unsealed, for the tests: listens where
// told, prints its root token and unseal key as one line of JSON, and ends with its standard input.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	log "github.com/hashicorp/go-hclog"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// registry knows the back ends of this file and no plugin besides.
type registry struct{}

func (registry) Contains(name string, _ consts.PluginType) bool {
	return name == "kv" || name == "approle"
}
func (registry) Get(name string, _ consts.PluginType) (func() (interface{}, error), bool) {
	switch name {
	case "kv":
		return func() (interface{}, error) { return kv.Factory, nil }, true
	case "approle":
		return func() (interface{}, error) { return approle.Factory, nil }, true
	}
	return nil, false
}
func (registry) Keys(consts.PluginType) []string { return nil }
func (registry) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, true
}
func (registry) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

func main() {
	logger := log.New(&log.LoggerOptions{Level: log.Error, Output: os.Stderr})
	store, err := inmem.NewInmem(nil, logger)
	check(err)
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           store,
		Logger:             logger,
		DisableMlock:       true,
		BuiltinRegistry:    registry{},
		CredentialBackends: map[string]logical.Factory{"approle": approle.Factory},
		LogicalBackends:    map[string]logical.Factory{"kv": kv.Factory},
	})
	check(err)
	result, err := core.Initialize(context.Background(), &vault.InitParams{
		BarrierConfig:  &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
		RecoveryConfig: &vault.SealConfig{},
	})
	check(err)
	_, err = core.Unseal(result.SecretShares[0])
	check(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core})
	go func() { check(http.Serve(listener, handler)) }()
	check(json.NewEncoder(os.Stdout).Encode(map[string]string{
		"address": "http://" + listener.Addr().String(), "token": result.RootToken,
		"unseal_key": hex.EncodeToString(result.SecretShares[0])}))
	_, _ = io.Copy(io.Discard, os.Stdin)
}
