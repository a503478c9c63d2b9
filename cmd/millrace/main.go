// Command millrace runs machine-learning models on Kafka streams. See the README.
package main

import (
	"os"
	_ "time/tzdata" // a static binary may run where there is no time zone database

	"millrace.dev/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
