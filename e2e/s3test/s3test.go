//go:build unix

// Package s3test runs a real S3 server for tests: versitygw, which keeps objects as files of a folder and honours
// conditional writes. `make bin/versitygw` builds it, out of a module of its own, so that nothing of it is in the
// product.
//
// Where the program is missing, a test is skipped, or fails if MILLRACE_REQUIRE asks for s3.
package s3test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"millrace.dev/e2e/leash"
	"millrace.dev/internal/testenv"
)

// ServerEnv is the environment variable that names the server's program. Default: bin/versitygw of the repository.
const ServerEnv = "MILLRACE_S3_SERVER"

// The credentials of the server, as the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must have
// them, and the region of its bucket.
const (
	AccessKey = "millrace-test"
	SecretKey = "only-for-tests"
	Region    = "us-east-1"
)

const (
	bucket       = "models"
	startTries   = 3
	startTimeout = 30 * time.Second
	look         = 20 * time.Millisecond
)

// Server is a running server with one bucket.
type Server struct {
	dir, log string
	addr     string
	proc     *leash.Process
}

// Start starts a server on a free port of the loopback interface, with an empty bucket. The test's cleanup ends it.
func Start(t testing.TB) *Server {
	t.Helper()
	program := find(t)
	s := &Server{dir: filepath.Join(t.TempDir(), "s3"), log: filepath.Join(t.ArtifactDir(), "versitygw.log")}
	for _, dir := range []string{filepath.Join(s.dir, "data", bucket), filepath.Join(s.dir, "meta")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for n := range startTries { // another process may take the port before the server does
		// What the server knows of a file is best kept with it: notes in a folder of their own are not removed with the
		// file in one step. They are for file systems without attributes.
		var notes []string
		if n+1 == startTries {
			notes = []string{"--sidecar", filepath.Join(s.dir, "meta")}
		}
		if err = s.start(t.Context(), program, notes); err == nil {
			t.Cleanup(s.Stop)
			return s
		}
		s.Stop()
	}
	text, readErr := os.ReadFile(s.log)
	t.Fatalf("s3test: %v\n%s", errors.Join(err, readErr), text)
	return nil
}

// find returns the server's program.
func find(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		testenv.Missing(t, "s3", "this run is -short, which starts no servers")
	}
	program := os.Getenv(ServerEnv)
	if program == "" {
		program = filepath.Join(testenv.Root(t), "bin", "versitygw")
	}
	if _, err := os.Stat(program); err != nil {
		testenv.Missing(t, "s3", fmt.Sprintf("there is no %s: run make bin/versitygw, or set %s to a versitygw", program, ServerEnv))
	}
	return program
}

func (s *Server) start(ctx context.Context, program string, notes []string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // the child has its own
	s.proc, err = leash.Start(leash.Command{
		Args: append(append([]string{program, "--port", s.addr, "--region", Region, "--keep-alive", "posix"}, notes...), filepath.Join(s.dir, "data")),
		Env:  append(os.Environ(), "ROOT_ACCESS_KEY_ID="+AccessKey, "ROOT_SECRET_ACCESS_KEY="+SecretKey), Stdout: out, Stderr: out,
	})
	if err != nil {
		return err
	}
	return s.ready(ctx)
}

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL(), http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close() // that it has no word for strangers does not matter
		}
		select {
		case <-tick.C:
		case <-s.proc.Done():
			return fmt.Errorf("the server ended: %v", s.proc.State())
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		}
	}
}

// URL returns the endpoint.
func (s *Server) URL() string { return "http://" + s.addr }

// Location returns the location of a registry below a prefix of the bucket.
func (s *Server) Location(prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=%s&region=%s", bucket, prefix, s.URL(), Region)
}

// Path returns the file that holds an object of the bucket.
func (s *Server) Path(key string) string {
	return filepath.Join(s.dir, "data", bucket, filepath.FromSlash(key))
}

// Stop ends the server, if it runs.
func (s *Server) Stop() {
	if s.proc != nil {
		_ = s.proc.End(context.Background(), syscall.SIGKILL) // the process is waited for all the same
		s.proc = nil
	}
}
