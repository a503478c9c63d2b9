package kafka

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// reach notes whether brokers answer. The client library tries again by itself and says nothing: this is how
// silence becomes visible. It is safe for concurrent use.
type reach struct {
	answered atomic.Int64 // unix nanoseconds of the last answer, or of the start
	failure  atomic.Pointer[error]
}

func newReach() *reach {
	r := &reach{}
	r.answered.Store(time.Now().UnixNano())
	return r
}

// OnBrokerConnect notes a connection that could not be made.
func (r *reach) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil {
		r.failure.Store(&err)
	}
}

// OnBrokerRead notes an answer.
func (r *reach) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if err == nil {
		r.answered.Store(time.Now().UnixNano())
		r.failure.Store(nil)
	}
}

// silence returns how long no broker has answered, and the last failure to connect since, or nil.
func (r *reach) silence() (time.Duration, error) {
	d := time.Since(time.Unix(0, r.answered.Load()))
	if p := r.failure.Load(); p != nil {
		return d, *p
	}
	return d, nil
}
