package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/record"
)

// topicFlags adds the flags by which a command finds the brokers.
func topicFlags(cmd *cobra.Command, file *string, brokers *[]string) {
	cmd.Flags().StringVarP(file, "pipeline", "f", "", "the pipeline `file` that names the brokers (default: "+defaultFile+" if it is there)")
	cmd.Flags().StringSliceVar(brokers, "brokers", nil, "the brokers, `host:port` each (default: those of the pipeline file, else of $KAFKA_BROKERS, else localhost:9092)")
}

func (c *cli) produceCommand() *cobra.Command {
	var o app.ProduceOptions
	cmd := &cobra.Command{
		Use:   "produce TOPIC --file FILE",
		Short: "Write the records of a file to a topic",
		Long: `Produce writes the lines of a .jsonl file to a topic, or the rows of a .csv file as JSON objects: a cell that is a
number becomes a number, an empty cell is left out.`,
		Args: oneArg("TOPIC", "file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(notNegative(cmd, "limit", o.Limit), notNegative(cmd, "rate", o.Rate)); err != nil {
				return err
			}
			o.Topic = args[0]
			progress, done := c.progress("producing")
			o.Progress = func(n int64) { progress(count(int(n), "record")) }
			start := time.Now()
			p, err := c.app().Produce(cmd.Context(), o)
			done()
			if err == nil || p.Records > 0 {
				c.note("wrote %s to %s in %s\n", count(int(p.Records), "record"), o.Topic, time.Since(start).Round(time.Millisecond))
			}
			if p.Keyless > 0 {
				c.note("%s without the field %q went out without a key\n", count(int(p.Keyless), "record"), o.Key)
			}
			return err
		},
	}
	topicFlags(cmd, &o.Pipeline, &o.Brokers)
	cmd.Flags().StringVar(&o.File, "file", "", "the `file` of the records, .jsonl or .csv (required)")
	cmd.Flags().Float64Var(&o.Rate, "rate", 0, "`number` of records a second (default: as fast as the brokers take them)")
	cmd.Flags().Int64Var(&o.Limit, "limit", 0, "stop after this `number` of records (default: all)")
	cmd.Flags().StringVar(&o.Key, "key", "", "the `field` whose value becomes the record's key")
	cmd.Flags().StringSliceVar(&o.Drop, "drop", nil, "CSV `columns` to leave out, such as the label")
	cmd.Flags().BoolVar(&o.Create, "create-topics", false, "make the topic if it does not exist")
	return cmd
}

func (c *cli) tapCommand() *cobra.Command {
	var o app.TapOptions
	cmd := &cobra.Command{
		Use:   "tap TOPIC",
		Short: "Show the records of a topic",
		Long: `Tap prints the values of the committed records of a topic, one a line, and goes on with new ones until it is
interrupted. With --json a line is an object with the record's topic, partition, offset, timestamp, key, headers and
value. It does not take part in any consumer group.`,
		Args: oneArg("TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notNegative(cmd, "limit", o.Limit); err != nil {
				return err
			}
			o.Topic = args[0]
			out := bufio.NewWriterSize(c.out, 64<<10)
			o.Flush = out.Flush
			ctx, cancel := context.WithCancelCause(cmd.Context())
			defer cancel(nil)
			stop := watchReader(c.out, func() { cancel(errUnread) })
			defer stop()
			err := c.app().Tap(ctx, o, func(r *record.Raw) error { return c.printRecord(out, r) })
			if cause := context.Cause(ctx); errors.Is(cause, errUnread) {
				return cause
			}
			return cmp.Or(err, out.Flush())
		},
	}
	topicFlags(cmd, &o.Pipeline, &o.Brokers)
	cmd.Flags().BoolVar(&o.FromEnd, "from-end", false, "only records that are written from now on")
	cmd.Flags().BoolVar(&o.UntilEnd, "until-end", false, "stop after the records that are there now")
	cmd.Flags().Int64Var(&o.Limit, "limit", 0, "stop after this `number` of records (default: all)")
	cmd.Flags().BoolVar(&c.json, "json", false, "print all of a record, as a JSON object")
	return cmd
}

// shownRecord is a record as tap --json prints it.
type shownRecord struct {
	Topic     string          `json:"topic"`
	Partition int32           `json:"partition"`
	Offset    int64           `json:"offset"`
	Timestamp int64           `json:"timestamp"`            // milliseconds since 1970
	Key       *string         `json:"key"`                  // null where there is none, or where it is not UTF-8
	KeyBase64 []byte          `json:"key_base64,omitempty"` // the key where it is not UTF-8
	Headers   [][2]string     `json:"headers,omitempty"`
	Value     json.RawMessage `json:"value"`            // the value where it is JSON, or null
	Text      *string         `json:"text,omitempty"`   // the value where it is other text
	Base64    []byte          `json:"base64,omitempty"` // the value where it is not UTF-8
}

func (c *cli) printRecord(out *bufio.Writer, r *record.Raw) error {
	if !c.json {
		_, err := fmt.Fprintf(out, "%s\n", r.Value)
		return err
	}
	s := shownOf(r)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(&s)
}

// shownOf returns a record as tap --json prints it.
func shownOf(r *record.Raw) shownRecord {
	s := shownRecord{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp}
	if r.Key != nil && utf8.Valid(r.Key) {
		key := string(r.Key)
		s.Key = &key
	} else {
		s.KeyBase64 = r.Key
	}
	for _, h := range r.Headers {
		s.Headers = append(s.Headers, [2]string{h.Key, string(h.Value)})
	}
	switch {
	case r.Value == nil:
	case json.Valid(r.Value):
		s.Value = r.Value
	case utf8.Valid(r.Value):
		text := string(r.Value)
		s.Text = &text
	default:
		s.Base64 = r.Value
	}
	return s
}
