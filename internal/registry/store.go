package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/registry/objects"
	"millrace.dev/model"
)

// litterAge is how old a temporary file, or a blob that no event names, is when it is taken for what a crash has left.
// Nobody needs an hour from the creation of one to the next step; one who does is told to try again, or does it again.
const litterAge = time.Hour

// The folders of a registry.
const (
	eventsDir = "events"
	blobsDir  = "blobs/sha256"
)

// store is the registry as objects.
type store struct{ objects.Store }

func eventName(seq int) string { return fmt.Sprintf("%s/%09d.json", eventsDir, seq) }

// event returns what a person calls event seq.
func (f store) event(seq int) string { return f.Name(eventName(seq)) }

// blobID tells one blob from all others: by its digest, and by its generation. That is the number of the last event
// that purged the digest, 0 if none did: what was written before a purge and what after it are two objects, so that
// one who removes the former, however late, cannot take the latter.
type blobID struct {
	digest     string
	generation int
}

func (b blobID) name() string {
	hex := strings.TrimPrefix(b.digest, "sha256:")
	name := path.Join(blobsDir, hex[:2], hex)
	if b.generation > 0 {
		name += fmt.Sprintf(".%09d", b.generation)
	}
	return name
}

// parseBlob returns the blob that an object is, and whether it is one.
func parseBlob(name string) (blobID, bool) {
	hex, generation, ok := strings.Cut(path.Base(name), ".")
	b := blobID{digest: "sha256:" + hex}
	if !validDigest(b.digest) {
		return blobID{}, false
	}
	if ok {
		n, err := strconv.Atoi(generation)
		if err != nil {
			return blobID{}, false
		}
		b.generation = n
	}
	return b, b.name() == name
}

func validDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// lastEvent returns the highest number of an event, after if there is none above it.
func (f store) lastEvent(ctx context.Context, after int) (int, error) {
	last, begin := after, ""
	if after > 0 {
		begin = eventName(after)
	}
	names, err := f.List(ctx, eventsDir, begin)
	for _, name := range names {
		n, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".json"))
		if err == nil && eventName(n) == name {
			last = max(last, n)
		}
	}
	return last, err
}

// readEvent returns event seq. An error matches fs.ErrNotExist if there is none.
func (f store) readEvent(ctx context.Context, seq int) (*Event, error) {
	data, err := f.Read(ctx, eventName(seq), maxEvent)
	if err != nil {
		return nil, err
	}
	e, err := decodeEvent(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.event(seq), err)
	}
	return e, nil
}

// addEvent writes an event. An error matches fs.ErrExist if another with its number is there.
func (f store) addEvent(ctx context.Context, e *Event) error {
	data, err := e.encode()
	if err != nil {
		return err
	}
	// Neither store can end up with this event and without the one before it, which was read: see [objects.Store].
	return f.Create(ctx, eventName(e.Seq), data)
}

// readBlob returns a blob of size bytes, and verifies that and its digest.
func (f store) readBlob(ctx context.Context, b blobID, size int64) ([]byte, error) {
	name := f.Name(b.name())
	data, err := f.Read(ctx, b.name(), size)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, withHint(fmt.Errorf("%w: %s is missing", ErrCorrupt, name), "restore it from a backup, or register the same bundle again")
	case err != nil:
		return nil, err
	case int64(len(data)) != size || model.Digest(data) != b.digest:
		return nil, withHint(fmt.Errorf("%w: %s does not hold what was registered", ErrCorrupt, name),
			"restore it from a backup, or remove it and register the same bundle again")
	}
	return data, nil
}

// checkBlob reads the blob of a register event of s, unless it was purged, and tells whether it is there. What is missing
// may have been purged since s was read: then s is brought up to date.
func (f store) checkBlob(ctx context.Context, s *state, e *Event) (live bool, err error) {
	for s.isLive(e.Digest) {
		b := s.blob(e.Digest)
		if _, err = f.readBlob(ctx, b, e.Bytes); err == nil {
			return true, nil
		}
		if !errors.Is(err, ErrCorrupt) {
			return false, err
		}
		if err := f.read(ctx, s); err != nil {
			return false, err
		}
		if s.isLive(e.Digest) && s.blob(e.Digest) == b {
			return false, err
		}
	}
	return false, nil
}

// addBlob writes a blob, unless it is there.
func (f store) addBlob(ctx context.Context, b blobID, data []byte) error {
	err := f.Create(ctx, b.name(), data)
	if errors.Is(err, fs.ErrExist) {
		_, err = f.readBlob(ctx, b, int64(len(data)))
	}
	return err
}

// read applies the events after the last one of s to s.
func (f store) read(ctx context.Context, s *state) error {
	if n := len(s.events); n > 0 { // the last one must still be there: the next will be chained to it
		if e, err := f.readEvent(ctx, n); errors.Is(err, fs.ErrNotExist) || err == nil && e.Sum != s.sum() {
			return fmt.Errorf("%w: %s has been removed or replaced since it was read", ErrCorrupt, f.event(n))
		} else if err != nil {
			return err
		}
	}
	last, err := f.lastEvent(ctx, len(s.events))
	if err != nil {
		return err
	}
	for seq := len(s.events) + 1; ; {
		events, err := f.readEvents(ctx, seq, min(last, seq+readAhead-1))
		for _, e := range events {
			if err := s.apply(e); err != nil {
				return fmt.Errorf("%s: %w", f.event(seq), err)
			}
			seq++
		}
		switch {
		case errors.Is(err, fs.ErrNotExist) && seq > last:
			return s.checkReached()
		case errors.Is(err, fs.ErrNotExist):
			return withHint(fmt.Errorf("%w: %s is missing, though later events are there", ErrCorrupt, f.event(seq)), "restore it from a backup")
		case err != nil:
			return err
		}
	}
}

// readAhead is how many events are asked for at once: with a server far away a long log would else take long.
const readAhead = 32

// readEvents returns events first to last, or only first if last is below it: an event may have come since the others
// were listed. It returns those before the first that fails, and why that does.
func (f store) readEvents(ctx context.Context, first, last int) ([]*Event, error) {
	type result struct {
		e   *Event
		err error
	}
	results := make([]chan result, max(1, last-first+1))
	for i := range results {
		results[i] = make(chan result, 1)
		go func() {
			e, err := f.readEvent(ctx, first+i)
			results[i] <- result{e, err}
		}()
	}
	var events []*Event
	var err error
	for _, c := range results { // all of them: no goroutine outlives the call
		r := <-c
		if err == nil && r.err == nil {
			events = append(events, r.e)
		} else if err == nil {
			err = r.err
		}
	}
	return events, err
}
