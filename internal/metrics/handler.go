package metrics

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/task"
)

// NewHandler answers /metrics for Prometheus, /livez and /readyz, and /topology with the topology as JSON: see [Live].
// more are collectors beside the engine's own.
func NewHandler(e *engine.Engine, p *task.Program, more ...prometheus.Collector) (http.Handler, error) {
	reg := prometheus.NewRegistry()
	for _, c := range append([]prometheus.Collector{
		newCollector(e, p), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}, more...) {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", health(e, func(s engine.State) bool { return s != engine.Failed && s != engine.Stalled }))
	mux.HandleFunc("GET /readyz", health(e, func(s engine.State) bool { return s == engine.Running || s == engine.Paused }))
	live := &live{engine: e, program: p, now: time.Now}
	mux.HandleFunc("GET /topology", live.serve)
	return mux, nil
}

// health answers 200 where ok holds for the engine's state, else 503, and names the state. An instance that is paused is
// ready: it does what it was told, and a new version must be able to take its place. Why it is paused follows,
// which partitions the breaker has paused, and which wait for an epoch, or are waited for.
func health(e *engine.Engine, ok func(engine.State) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s := e.Stats()
		if !ok(s.State) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = fmt.Fprintf(w, "%s since %s\n", s.State, s.Since.UTC().Format(time.RFC3339)) // nobody to tell
		if s.Paused != "" {
			_, _ = fmt.Fprintf(w, "paused: %s\n", s.Paused)
		}
		if s.Memory.Full() {
			_, _ = fmt.Fprintf(w, "memory: %s\n", s.Memory.Reason())
		}
		for _, h := range s.Held {
			state := "is paused until " + h.Until.UTC().Format(time.RFC3339)
			if h.Trial {
				state = "is read on trial"
			}
			_, _ = fmt.Fprintf(w, "%s/%d %s: %s\n", h.Topic, h.Partition.Partition, state, h.Reason)
		}
		for _, p := range s.Lacks {
			_, _ = fmt.Fprintf(w, "%s/%d has no records, for which those of other topics wait since %s\n", p.Topic, p.Partition.Partition, p.Since.UTC().Format(time.RFC3339))
		}
		for _, p := range s.UnderWay {
			_, _ = fmt.Fprintf(w, "%s/%d waits for an answer to %d records since %s\n", p.Topic, p.Partition.Partition, p.Records, p.Since.UTC().Format(time.RFC3339))
		}
		for _, p := range s.Epochs {
			if p.Waits {
				_, _ = fmt.Fprintf(w, "%s/%d waits: another instance has processed it with epoch %d\n", p.Topic, p.Partition.Partition, p.Epoch)
			}
		}
	}
}

// Live is a topology at work, on this instance.
type Live struct {
	Application string           `json:"application"`
	State       string           `json:"state"`
	Nodes       []LiveNode       `json:"nodes"`
	Lag         map[string]int64 `json:"lag"` // offsets, by topic
	Restoring   engine.Restoring `json:"restoring"`
	Memory      LiveMemory       `json:"memory"`
}

// LiveMemory is the memory for state, in bytes.
type LiveMemory struct {
	Limit       int64 `json:"limit"`
	Disk        int64 `json:"disk"`        // the part of the limit that is for files
	Uncommitted int64 `json:"uncommitted"` // changes
	Rows        int64 `json:"rows"`        // decoded
	Memory      int64 `json:"memory"`      // stores in memory
	Global      int64 `json:"global"`      // tables
}

// LiveNode is a node of a topology at work.
type LiveNode struct {
	task.Node

	Records uint64  `json:"records"`            // that came in since the start
	Rate    float64 `json:"records_per_second"` // since the topology was last asked for, or the start
	Micros  float64 `json:"micros_a_record"`    // that the node itself takes, estimated from samples
	Dropped uint64  `json:"dropped"`            // that it dropped since the start
}

// live remembers what it has told, for the rates.
type live struct {
	engine  *engine.Engine
	program *task.Program
	now     func() time.Time

	mu     sync.Mutex
	at     time.Time
	before []task.NodeStats
}

func (l *live) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(l.look()) // nobody to tell
}

func (l *live) look() Live {
	s := l.engine.Stats()
	out := Live{Application: l.program.Name, State: string(s.State), Lag: map[string]int64{}, Restoring: s.Restoring}
	m := s.Memory
	out.Memory = LiveMemory{Limit: m.Limit, Disk: m.Disk, Uncommitted: m.Writes, Rows: m.Rows, Memory: m.Memory, Global: m.Globals}
	for p, n := range s.Lag {
		out.Lag[p.Topic] += n
	}
	dropped := map[string]uint64{}
	for d, n := range s.Dropped {
		dropped[d.Node] += n
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for i, n := range s.Nodes {
		node := LiveNode{Node: l.program.Nodes[i], Records: n.Records, Dropped: dropped[l.program.Nodes[i].Name]}
		if n.Sampled > 0 {
			node.Micros = float64(n.Time.Nanoseconds()) / float64(n.Sampled) / 1000
		}
		if d := now.Sub(l.at).Seconds(); l.before != nil && d > 0 {
			node.Rate = float64(n.Records-l.before[i].Records) / d
		}
		out.Nodes = append(out.Nodes, node)
	}
	l.at, l.before = now, s.Nodes
	return out
}
