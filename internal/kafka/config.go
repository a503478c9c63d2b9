package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"millrace.dev/internal/secret"
)

// TLS says how connections are encrypted.
type TLS struct {
	Enabled    bool
	CAFile     string // PEM certificates to trust. Default: those of the system
	CertFile   string // PEM certificate of this client, with KeyFile. Default: none
	KeyFile    string
	ServerName string // the name the brokers' certificates must have. Default: the host of each address
}

// The SASL mechanisms.
const (
	MechanismPlain       = "plain"
	MechanismScramSHA256 = "scram-sha-256"
	MechanismScramSHA512 = "scram-sha-512"
)

// SASL says who the client is.
type SASL struct {
	Mechanism string // one of the Mechanism constants. Default: none
	Username  string
	Password  secret.Text
}

// Dialer opens a connection, as [net.Dialer.DialContext] does.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Config says how to reach a cluster.
type Config struct {
	Brokers  []string // addresses, host:port, of one or more brokers; the others are found through them
	ClientID string   // the name that the brokers' logs and quotas know. Default: "millrace"
	Rack     string   // this process's availability zone; fetches go to the closest replica. Default: none
	TLS      TLS
	SASL     SASL
	Log      *slog.Logger // gets the client library's own messages at the debug level. Default: none
	Dial     Dialer       // opens plain connections; TLS must be off. Default: TCP with a timeout of 5 s
}

// Validate reports every fault of the configuration, joined in one error.
func (c *Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, &Error{Code: CodeConfig, Op: "configure", Err: fmt.Errorf(format, args...)})
	}
	if len(c.Brokers) == 0 {
		fault("no brokers")
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			fault("broker %q: want host:port", b)
		}
	}
	switch strings.ToLower(c.SASL.Mechanism) {
	case "":
		if c.SASL.Username != "" || !c.SASL.Password.IsZero() {
			fault("sasl: no mechanism: want %s, %s or %s", MechanismPlain, MechanismScramSHA256, MechanismScramSHA512)
		}
	case MechanismPlain, MechanismScramSHA256, MechanismScramSHA512:
		if c.SASL.Username == "" || c.SASL.Password.IsZero() {
			fault("sasl: mechanism %s needs a username and a password", c.SASL.Mechanism)
		}
	default:
		fault("sasl: no such mechanism: %q: want %s, %s or %s", c.SASL.Mechanism, MechanismPlain, MechanismScramSHA256, MechanismScramSHA512)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		fault("tls: a client certificate needs both its file and the file of its key")
	}
	if c.Dial != nil && c.TLS.Enabled {
		fault("tls: a dialer of one's own excludes tls")
	}
	return errors.Join(errs...)
}

// MaxUnpackedBytes bounds what a batch of records may become when it is decompressed: a few kilobytes can hold gigabytes.
const MaxUnpackedBytes = 64 << 20

// options returns the client library's options that every client of this configuration has.
func (c *Config) options() ([]kgo.Opt, error) {
	id := c.ClientID
	if id == "" {
		id = "millrace"
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(id),
		kgo.SoftwareNameAndVersion("millrace", "1"),
		kgo.DisableClientMetrics(),
		kgo.MaxDecompressBatchBytes(MaxUnpackedBytes),
		// Metadata is asked for after every error that hints at a change; the minimum age only keeps that from
		// becoming a busy loop, and bounds how fast a moved leader is found.
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.RetryTimeout(15 * time.Second),
		kgo.RetryBackoffFn(requestBackoff),
	}
	if c.Rack != "" {
		opts = append(opts, kgo.Rack(c.Rack))
	}
	if c.Log != nil {
		opts = append(opts, kgo.WithLogger(library{c.Log}))
	}
	switch {
	case c.Dial != nil:
		opts = append(opts, kgo.Dialer(c.Dial))
	case c.TLS.Enabled:
		t, err := c.TLS.load()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(t), kgo.DialTimeout(5*time.Second))
	default:
		opts = append(opts, kgo.DialTimeout(5*time.Second))
	}
	if m := c.SASL.mechanism(); m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// requestBackoff is the pause before try n of a request: 50 ms, doubled up to 2 s, and up to a fifth less.
func requestBackoff(n int) time.Duration {
	return Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second}.Pause(n)
}

func (s *SASL) mechanism() sasl.Mechanism {
	switch strings.ToLower(s.Mechanism) {
	case MechanismPlain:
		return plain.Auth{User: s.Username, Pass: s.Password.Reveal()}.AsMechanism()
	case MechanismScramSHA256:
		return scram.Auth{User: s.Username, Pass: s.Password.Reveal()}.AsSha256Mechanism()
	case MechanismScramSHA512:
		return scram.Auth{User: s.Username, Pass: s.Password.Reveal()}.AsSha512Mechanism()
	default:
		return nil
	}
}

func (t *TLS) load() (*tls.Config, error) {
	fault := func(err error) error { return &Error{Code: CodeConfig, Op: "configure tls", Err: err} }
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fault(err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault(fmt.Errorf("%s holds no PEM certificate", t.CAFile))
		}
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fault(err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// tlsFault tells whether err is of a certificate: no retry mends that.
func tlsFault(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	_, ok := errors.AsType[tls.RecordHeaderError](err) // the listener does not speak TLS
	return ok
}

// library passes the client library's messages on, at the debug level: what matters of them reaches people as
// an error or as a change of state.
type library struct{ log *slog.Logger }

// Level returns the level up to which the library should make messages.
func (l library) Level() kgo.LogLevel {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelNone
}

// Log passes one message on.
func (l library) Log(level kgo.LogLevel, msg string, kv ...any) {
	attrs := make([]slog.Attr, 0, 2+len(kv)/2)
	attrs = append(attrs, slog.String("level", level.String()), slog.String("message", msg))
	for i := 0; i+1 < len(kv); i += 2 {
		attrs = append(attrs, slog.Any(fmt.Sprint(kv[i]), kv[i+1]))
	}
	l.log.LogAttrs(context.Background(), slog.LevelDebug, "kafka client", attrs...)
}
