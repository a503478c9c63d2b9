package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookAgain is how often the files of certificates are looked at, at most.
const lookAgain = time.Second

// certificates holds what is in the files of certificates, and reads them again when they change. Files that cannot be used,
// such as a certificate that was replaced before its key, change nothing.
type certificates struct {
	files TLS
	now   func() time.Time
	log   *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	seen    []os.FileInfo // of the files, as they were read
	fault   string        // that was logged last
	current *tls.Config
}

func loadCertificates(files TLS, now func() time.Time, log *slog.Logger) (*certificates, error) {
	c := &certificates{files: files, now: now, log: log, looked: now()}
	seen, err := c.stat()
	if err != nil {
		return nil, err
	}
	c.seen = seen
	c.current, err = c.read()
	return c, err
}

// config returns what a new connection is to be encrypted with.
func (c *certificates) config(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= lookAgain || now.Before(c.looked) {
		c.looked = now
		if err := c.refresh(); err != nil && err.Error() != c.fault {
			c.fault = err.Error()
			c.log.LogAttrs(hello.Context(), slog.LevelError, "the certificates changed and cannot be read: those of before go on", slog.Any("error", err))
		}
	}
	return c.current, nil
}

func (c *certificates) refresh() error {
	seen, err := c.stat()
	if err != nil || same(seen, c.seen) {
		return err
	}
	config, err := c.read()
	if err != nil {
		return err
	}
	c.seen, c.current, c.fault = seen, config, ""
	return nil
}

func (c *certificates) stat() ([]os.FileInfo, error) {
	var seen []os.FileInfo
	for _, path := range []string{c.files.Cert, c.files.Key, c.files.ClientCA} {
		if path == "" {
			continue
		}
		i, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		seen = append(seen, i)
	}
	return seen, nil
}

func same(a, b []os.FileInfo) bool {
	for i := range a {
		if !os.SameFile(a[i], b[i]) || !a[i].ModTime().Equal(b[i].ModTime()) || a[i].Size() != b[i].Size() {
			return false
		}
	}
	return true
}

func (c *certificates) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", c.files.Cert, c.files.Key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}, Time: c.now}
	if c.files.ClientCA == "" {
		return config, nil
	}
	text, err := os.ReadFile(c.files.ClientCA)
	if err != nil {
		return nil, err
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, errors.New(c.files.ClientCA + ": holds no certificate in PEM")
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	config.SessionTicketsDisabled = true // a session that is taken up again would not be checked against authorities that changed
	return config, nil
}
