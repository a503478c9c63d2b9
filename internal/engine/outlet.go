package engine

import (
	"context"

	"millrace.dev/internal/kafka"
)

// maxHeld is how many bytes of output wait for the next round before tasks wait too.
const maxHeld = 32 << 20

// outlet takes what tasks give out: for the open round or, while there is none, for the next one. It is safe for
// concurrent use.
type outlet struct {
	session *kafka.Session
	lock    lock
	held    []*kafka.Outbox // for the next round, in order
	bytes   int             // of held
	send    func(*kafka.Outbox)
	cancel  context.CancelFunc // ends the sends of the round; nil when none is open
	lossy   bool               // the round lacks some of what was given: it must not be committed
}

func newOutlet(s *kafka.Session) *outlet { return &outlet{session: s, lock: newLock()} }

// open begins to send into a round, first what was held.
func (o *outlet) open(ctx context.Context) {
	rctx, cancel := context.WithCancel(ctx)
	send := func(b *kafka.Outbox) {
		if o.session.Doomed() {
			b.Discard()
			return
		}
		if o.session.Send(rctx, b) != nil {
			o.lock.Lock()
			o.lossy = true
			o.lock.Unlock()
		}
	}
	o.lock.Lock()
	o.cancel, o.lossy = cancel, false
	for len(o.held) > 0 { // what tasks write meanwhile has to come after what they have written before
		held := o.held
		o.held, o.bytes = nil, 0
		o.lock.Unlock()
		for _, b := range held {
			send(b)
		}
		o.lock.Lock()
	}
	o.send = send
	o.lock.Unlock()
}

// put takes an outbox. It waits while too much is in flight, until the round is given up.
func (o *outlet) put(b *kafka.Outbox) {
	o.lock.Lock()
	send := o.send
	if send == nil {
		o.held = append(o.held, b)
		o.bytes += b.Bytes()
	}
	o.lock.Unlock()
	if send != nil {
		send(b)
	}
}

// full tells whether tasks should rather wait for the next round.
func (o *outlet) full() bool {
	o.lock.Lock()
	defer o.lock.Unlock()
	return o.send == nil && o.bytes >= maxHeld
}

// opened tells whether a round is open.
func (o *outlet) opened() bool {
	o.lock.Lock()
	defer o.lock.Unlock()
	return o.send != nil
}

// waiting tells whether anything waits for the next round.
func (o *outlet) waiting() bool {
	o.lock.Lock()
	defer o.lock.Unlock()
	return len(o.held) > 0
}

// giveUp lets nobody wait for the open round any more.
func (o *outlet) giveUp() {
	o.lock.Lock()
	defer o.lock.Unlock()
	if o.cancel != nil {
		o.cancel()
	}
}

// check lets nobody wait for the open round if that can only be undone. A round that begins meanwhile is not meant.
func (o *outlet) check() {
	o.lock.Lock()
	cancel := o.cancel
	o.lock.Unlock()
	if cancel != nil && o.session.Doomed() {
		cancel()
	}
}

// close ends the round for the tasks: what they write from now on is held. It tells whether the round is complete.
func (o *outlet) close() (complete bool) {
	o.lock.Lock()
	defer o.lock.Unlock()
	if o.cancel != nil {
		o.cancel()
	}
	o.send, o.cancel = nil, nil
	return !o.lossy
}

// discard forgets what is held.
func (o *outlet) discard() {
	o.lock.Lock()
	defer o.lock.Unlock()
	for _, b := range o.held {
		b.Discard()
	}
	o.held, o.bytes = nil, 0
}
