// Istio's agent beside each proxy: it fetches certificates, configuration and Wasm images, and runs Envoy.
package main

import (
	"fmt"
	"os"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/cmd/pilot-agent/app"
	istioagent "istio.io/istio/pkg/istio-agent"
	"istio.io/istio/pkg/security"
	"istio.io/istio/security/pkg/nodeagent/sds"
)

func main() {
	secrets := func(options *security.Options, cache security.SecretManager, keys *meshconfig.PrivateKeyProvider) istioagent.SDSService {
		return sds.NewServer(options, cache, keys)
	}
	if err := app.NewRootCommand(secrets).Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
