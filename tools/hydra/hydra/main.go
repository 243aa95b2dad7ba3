// ORY Hydra, the authorization server that Kyma shipped.
package main

import "github.com/ory/hydra/v2/cmd"

func main() {
	cmd.Execute()
}
