package cli

import (
	"github.com/spf13/cobra"
	"millrace.dev/internal/devbroker"
)

func (c *cli) brokerCommand() *cobra.Command {
	var o devbroker.Options
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run a development broker",
		Long: `Broker runs a development broker inside this process: one node that speaks Kafka's protocol, with its data in a
folder. It makes a topic when a record is produced to it. It is for trying things out, not for production.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Logger = c.app().Log
			b, err := devbroker.Start(cmd.Context(), o)
			if err != nil {
				return err
			}
			c.note("%s\n", b.Banner())
			<-cmd.Context().Done()
			return b.Close()
		},
	}
	cmd.Flags().StringVar(&o.Dir, "dir", "broker-data", "the folder of the broker's data")
	cmd.Flags().StringVar(&o.Addr, "listen", devbroker.DefaultAddr, "the address to listen on, host:port")
	cmd.Flags().IntVar(&o.Partitions, "partitions", 6, "partitions of a topic that is made without saying how many")
	return cmd
}
