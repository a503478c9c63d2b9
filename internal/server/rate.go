package server

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxClients bounds the clients whose rate is remembered: of more, those are forgotten that asked longest ago.
const maxClients = 16384

// rates holds a token bucket for each client.
type rates struct {
	limit rate.Limit
	burst int

	mu      sync.Mutex
	clients map[string]*list.Element
	order   list.List // of *client, who asked last at the back
}

type client struct {
	name    string
	limiter *rate.Limiter
}

func newRates(perSecond float64, burst int) *rates {
	return &rates{limit: rate.Limit(perSecond), burst: burst, clients: map[string]*list.Element{}}
}

// take takes a token of a client, and returns 0, or how long it is until there is one.
func (r *rates) take(name string, now time.Time) time.Duration {
	reservation := r.of(name).ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// of returns the bucket of a client.
func (r *rates) of(name string) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.clients[name]
	if e == nil {
		if r.order.Len() >= maxClients {
			oldest := r.order.Front()
			delete(r.clients, oldest.Value.(*client).name) //nolint:forcetypeassert // the list holds nothing else
			r.order.Remove(oldest)
		}
		e = r.order.PushBack(&client{name: name, limiter: rate.NewLimiter(r.limit, r.burst)})
		r.clients[name] = e
	}
	r.order.MoveToBack(e)
	return e.Value.(*client).limiter //nolint:forcetypeassert // the list holds nothing else
}
