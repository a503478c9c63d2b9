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
	clients map[string]client
	order   list.List // of the clients' names, who asked last at the back
}

type client struct {
	bucket *rate.Limiter
	at     *list.Element
}

func newRates(perSecond float64, burst int) *rates {
	return &rates{limit: rate.Limit(perSecond), burst: burst, clients: map[string]client{}}
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
	c, ok := r.clients[name]
	if ok {
		r.order.MoveToBack(c.at)
		return c.bucket
	}
	if r.order.Len() >= maxClients {
		oldest, _ := r.order.Remove(r.order.Front()).(string) // the list holds nothing else
		delete(r.clients, oldest)
	}
	c = client{bucket: rate.NewLimiter(r.limit, r.burst), at: r.order.PushBack(name)}
	r.clients[name] = c
	return c.bucket
}
