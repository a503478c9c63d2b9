//go:build linux

package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"millrace.dev/bench/internal/rig"
	"millrace.dev/internal/house"
)

//go:embed pipeline.yaml
var pipelineFile []byte

//go:embed train.py
var trainScript []byte

const (
	seed    = 1
	history = 20_000 // sales that the model is trained on
)

// server is one of the servers that are compared.
type server struct {
	*rig.Process

	http, grpc string // addresses
}

// prepare trains the model and imports it.
func (b *bench) prepare(ctx context.Context) error {
	var err error
	if b.millrace, err = filepath.Abs(b.millrace); err != nil {
		return err
	}
	g, err := house.New(house.Options{Seed: seed, History: history})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"sales.csv": g.CSV(history), "pipeline.yaml": pipelineFile, "train.py": trainScript} {
		if err := os.WriteFile(filepath.Join(b.dir, name), data, 0o600); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{b.python, "train.py", "sales.csv", "."},
		{b.millrace, "model", "import", "model.bst", "--by", "bench"},
		{b.millrace, "model", "approve", modelName + "@1", "--by", "bench", "--reason", "to be measured"},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = b.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", filepath.Base(args[0]), args[1], err, out)
		}
	}
	b.rows, err = readRows(b.dir)
	return err
}

// start starts both servers and waits until they are ready.
func (b *bench) start(ctx context.Context) error {
	var err error
	if b.ours, err = b.startMillrace(ctx, b.millrace); err != nil {
		return err
	}
	b.peers, err = b.startMLServer(ctx)
	return err
}

func (b *bench) stop() error {
	var errs []error
	for _, s := range []*server{b.ours, b.peers} {
		if s != nil {
			errs = append(errs, s.Stop())
		}
	}
	return errors.Join(errs...)
}

// pinned is a command on the processors for servers.
func (b *bench) pinned(args ...string) []string {
	if b.cpus == "" {
		return args
	}
	return append([]string{"taskset", "-c", b.cpus}, args...)
}

// startMillrace starts millrace serve; program is what runs millrace.
func (b *bench) startMillrace(ctx context.Context, program ...string) (*server, error) {
	address, err := rig.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s := &server{http: address, grpc: address}
	s.Process, err = rig.Start(ctx, rig.Command{Args: b.pinned(append(program, "serve", "--http", address)...), Dir: b.dir, Name: "millrace"})
	if err != nil {
		return nil, err
	}
	return s, s.ready(ctx)
}

// startMLServer starts MLServer without workers of its own: with one model that is the faster of its settings, since a request
// then does not go to another process and back.
func (b *bench) startMLServer(ctx context.Context) (*server, error) {
	var ports [3]int
	var addresses [3]string
	for i := range ports {
		var err error
		if addresses[i], err = rig.FreeAddress(ctx); err != nil {
			return nil, err
		}
		a, err := net.ResolveTCPAddr("tcp", addresses[i])
		if err != nil {
			return nil, err
		}
		ports[i] = a.Port
	}
	for name, v := range map[string]map[string]any{
		"settings.json": {
			"host": "127.0.0.1", "http_port": ports[0], "grpc_port": ports[1], "metrics_port": ports[2], "debug": false, "parallel_workers": 0,
		},
		"model-settings.json": {
			"name": modelName, "implementation": "mlserver_lightgbm.LightGBMModel", "parameters": map[string]string{"uri": "./model.bst", "version": "v1"},
		},
	} {
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(b.dir, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	s := &server{http: addresses[0], grpc: addresses[1]}
	var err error
	s.Process, err = rig.Start(ctx, rig.Command{
		Args: b.pinned(filepath.Join(filepath.Dir(b.python), "mlserver"), "start", "."), Dir: b.dir, Name: "mlserver",
		Env: []string{"OMP_NUM_THREADS=1"}, // as many as are of use for a batch
	})
	if err != nil {
		return nil, err
	}
	return s, s.ready(ctx)
}

// ready waits until the server says that it is.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	url := "http://" + s.http + "/v2/models/" + modelName + "/ready"
	for {
		if err := s.Alive(); err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if r, err := http.DefaultClient.Do(req); err == nil {
			_ = r.Body.Close() // the status says it
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := rig.Pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("%s is not ready: %w", url, err)
		}
	}
}
