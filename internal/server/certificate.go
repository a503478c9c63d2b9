package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"millrace.dev/internal/reload"
)

// loadCertificates reads the files of certificates.
func loadCertificates(files TLS, now func() time.Time, log *slog.Logger) (*reload.Value[*tls.Config], error) {
	paths := []string{files.Cert, files.Key}
	if files.ClientCA != "" {
		paths = append(paths, files.ClientCA)
	}
	return reload.New(paths, func() (*tls.Config, error) { return readCertificates(files, now) }, now, log)
}

func readCertificates(files TLS, now func() time.Time) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", files.Cert, files.Key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}, Time: now}
	if files.ClientCA == "" {
		return config, nil
	}
	text, err := os.ReadFile(files.ClientCA)
	if err != nil {
		return nil, err
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, errors.New(files.ClientCA + ": holds no certificate in PEM")
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	config.SessionTicketsDisabled = true // a session that is taken up again would not be checked against authorities that changed
	return config, nil
}
