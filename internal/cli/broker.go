package cli

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/internal/devbroker"
)

func (c *cli) brokerCommand() *cobra.Command {
	var o devbroker.Options
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run a development broker",
		Long: `Broker runs a development broker inside this process: one node that speaks Kafka's protocol, with its data in a
folder. It makes a topic when a client that allows that asks for it. It is for trying things out, not for production.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Partitions < 1 {
				return usage(cmd, fmt.Errorf("--partitions %d: want 1 or more", o.Partitions))
			}
			if err := checkAddress(o.Addr); err != nil {
				return usage(cmd, fmt.Errorf("--listen %q: %w", o.Addr, err))
			}
			o.Logger = c.app().Log
			b, err := devbroker.Start(cmd.Context(), o)
			if err != nil {
				return err
			}
			c.note("%s\n", strings.TrimSpace(b.Banner()))
			if b.Addr() != devbroker.DefaultAddr {
				c.note("next: tell the other commands where it is\n  export KAFKA_BROKERS=%s\n", b.Addr())
			}
			<-cmd.Context().Done()
			return b.Close()
		},
	}
	cmd.Flags().StringVar(&o.Dir, "dir", "broker-data", "the `folder` of the broker's data")
	cmd.Flags().StringVar(&o.Addr, "listen", devbroker.DefaultAddr, "the `address` to listen on, host:port; port 0 is a free one")
	cmd.Flags().IntVar(&o.Partitions, "partitions", 6, "`number` of partitions of a topic that is made without saying how many")
	return cmd
}

// checkAddress wants the address of one host, since clients are told to connect to it.
func checkAddress(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("want host:port, such as %s", devbroker.DefaultAddr)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("clients are told to connect to it: name one host, as in %s", devbroker.DefaultAddr)
	}
	return nil
}
