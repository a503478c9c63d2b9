package app

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// status is what a runner of a schedule does, for health. It is safe for concurrent use.
type status struct {
	mu      sync.Mutex
	leads   bool
	next    time.Time // zero: none is known
	running string    // the run id; "" is none
	last    string    // run id and result
}

func (s *status) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *status) standBy() { s.set(func() { s.leads, s.running, s.next = false, "", time.Time{} }) }

func (s *status) lead(next time.Time) { s.set(func() { s.leads, s.next = true, next }) }

func (s *status) train(runID string) { s.set(func() { s.leads, s.running = true, runID }) }

func (s *status) done(runID, result string) {
	s.set(func() { s.running, s.last = "", runID+": "+result })
}

// text describes what the runner does, a line for each fact.
func (s *status) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := "stands by\n"
	if s.leads {
		text = "leads\n"
	}
	if s.running != "" {
		text += "trains " + s.running + "\n"
	}
	if !s.next.IsZero() {
		text += "next at " + s.next.Format(time.RFC3339) + "\n"
	}
	if s.last != "" {
		text += "last " + s.last + "\n"
	}
	return text
}

// health answers /livez and /readyz with what the runner does. Whoever stands by is ready, too.
func (s *scheduler) health() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"GET /livez", "GET /readyz"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, s.status.text()) // nobody to tell
		})
	}
	return mux
}
