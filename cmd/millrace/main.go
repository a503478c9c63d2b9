// Command millrace runs machine-learning models on Kafka streams. See the README.
package main

import (
	"os"

	"millrace.dev/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
