package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/trust"
)

// GCOptions say what [Registry.GC] removes.
type GCOptions struct {
	// By is who lets it go, for the audit log.
	By string
	// OlderThan lets the bundles go of versions that were rejected or retired longer ago than that, by the clock of
	// [Options]. Default: they stay.
	OlderThan time.Duration
	// DryRun only reports what would go.
	DryRun bool
}

// GCReport is what [Registry.GC] has removed.
type GCReport struct {
	// Bundles are those that went, in the order of their digests; where an error came with the report, until then.
	Bundles []Removed
	// Temporary is how many half-written files went.
	Temporary int
}

// Removed is a bundle that went.
type Removed struct {
	Digest string
	Bytes  int64
	// Versions are those that had it, such as "house-prices@3"; none for one that no version had.
	Versions []string
	// Reason is why, as the log has it.
	Reason string
}

// GC removes what nobody needs: half-written files and bundles that no version has, if they are older than an hour, and
// with OlderThan the bundles of rejected and retired versions. A bundle that a candidate or an approved version of any
// model has stays. The versions stay in the log; that a bundle goes is an event in it, which is written before. A
// version whose bundle went cannot be approved any more; its bytes can be registered again, as a new version.
//
// It is safe beside everything else that uses the registry: see [blobID]. After a crash, doing it again removes the
// rest. An error matches [ErrInvalid], [ErrCorrupt], [ErrNewer], [ErrSetup] or [ErrUnreachable], or is one of the file
// system.
func (r *Registry) GC(ctx context.Context, o GCOptions) (report GCReport, err error) {
	if o.By, err = r.name("name of who lets bundles go", o.By); err != nil {
		return report, fmt.Errorf("registry: %w", err)
	}
	c := collector{Registry: r, GCOptions: o, report: &report}
	if c.key, err = r.signer(); err != nil {
		return report, err
	}
	report.Temporary, err = r.store.Clean(ctx, litterAge, o.DryRun)
	if err == nil {
		err = c.aged(ctx)
	}
	if err == nil {
		err = c.litter(ctx)
	}
	slices.SortFunc(report.Bundles, func(a, b Removed) int { return strings.Compare(a.Digest, b.Digest) })
	if err != nil && !strings.HasPrefix(err.Error(), "registry: ") {
		err = fmt.Errorf("registry: %w", err)
	}
	return report, err
}

// collector is one run of [Registry.GC].
type collector struct {
	*Registry
	GCOptions

	report *GCReport
	key    *trust.Key
}

// aged lets the bundles of rejected and retired versions go.
func (c *collector) aged(ctx context.Context) error {
	if c.OlderThan <= 0 {
		return nil
	}
	before := c.now().Add(-c.OlderThan)
	var due []string
	err := c.view(ctx, func(s *state) error {
		for _, v := range s.list() {
			if s.isDue(v.Digest, before) && !slices.Contains(due, v.Digest) {
				due = append(due, v.Digest)
			}
		}
		return nil
	})
	for _, digest := range due {
		if err != nil {
			break
		}
		err = c.purge(ctx, digest, func(s *state) bool { return s.isDue(digest, before) })
	}
	return err
}

// litter removes what purges and registrations that did not come to their end have left.
func (c *collector) litter(ctx context.Context) error {
	// The list comes first: what it shows was written for an event that the state has, or for one that is yet to come.
	names, err := c.store.List(ctx, blobsDir, "")
	if err != nil || len(names) == 0 {
		return err
	}
	if err := c.view(ctx, func(*state) error { return nil }); err != nil {
		return err
	}
	for _, name := range names {
		b, ok := parseBlob(name)
		if !ok {
			continue
		}
		var now blobID
		var live bool
		c.mu.Lock() // the state is as of after the list, if not of this moment: a purge looks again
		now, live = c.state.blob(b.digest), c.state.isLive(b.digest)
		c.mu.Unlock()
		switch {
		case b.generation < now.generation: // it was purged, and nothing can refer to it any more
			err = c.remove(ctx, b, Removed{Digest: b.digest, Reason: "it was purged before"})
		case b == now && !live:
			err = c.orphan(ctx, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// orphan lets a blob go that no version has, unless it is so young that the event about it may be under way.
func (c *collector) orphan(ctx context.Context, b blobID) error {
	i, err := c.store.Stat(ctx, b.name())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else has removed it
	}
	if err != nil {
		return err
	}
	now, err := c.store.Now(ctx)
	if err != nil || now.Sub(i.Modified) <= litterAge {
		return err
	}
	return c.purge(ctx, b.digest, func(s *state) bool { return s.blob(b.digest) == b && !s.isLive(b.digest) })
}

// purge writes the event that lets a digest go, as long as may allows it, and removes its blob.
func (c *collector) purge(ctx context.Context, digest string, may func(*state) bool) error {
	var b blobID
	var removed Removed
	decide := func(s *state) (*Event, error) {
		b = blobID{}
		if !may(s) {
			return nil, nil
		}
		b = s.blob(digest)
		actor := c.By
		if !c.DryRun {
			var err error
			if actor, err = s.actor(c.By, c.key); err != nil {
				return nil, err
			}
		}
		e := &Event{Actor: actor, Action: Purged, Digest: digest, Reason: "no version has it"}
		removed = Removed{Digest: digest}
		for _, v := range s.list() {
			if v.Digest != digest {
				continue
			}
			e.Model, e.Version = v.Model, v.Number
			if !v.Purged {
				removed.Versions = append(removed.Versions, v.Ref())
				e.Reason = fmt.Sprintf("%s more than %v ago", v.State, c.OlderThan)
			}
		}
		removed.Reason = e.Reason
		return e, nil
	}
	var err error
	if c.DryRun {
		err = c.view(ctx, func(s *state) error { _, err := decide(s); return err })
	} else {
		err = c.add(ctx, c.key, decide)
	}
	if err != nil || b.digest == "" {
		return err
	}
	return c.remove(ctx, b, removed)
}

// remove removes a blob that nothing refers to any more, and reports it.
func (c *collector) remove(ctx context.Context, b blobID, removed Removed) error {
	i, err := c.store.Stat(ctx, b.name())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // somebody else was faster, or it was lost
	}
	if err == nil && !c.DryRun {
		err = c.store.Remove(ctx, b.name())
	}
	if err != nil {
		return err
	}
	removed.Bytes = i.Size
	c.report.Bundles = append(c.report.Bundles, removed)
	return nil
}

// isDue tells whether the bundle of a digest may go: it is there, and every version that has it was rejected or retired
// before a time.
func (s *state) isDue(digest string, before time.Time) bool {
	if !s.isLive(digest) || s.isKept(digest) {
		return false
	}
	for _, m := range s.models {
		for _, v := range m.versions {
			if v.Digest == digest && !v.Purged && !v.DecidedAt.Before(before) {
				return false
			}
		}
	}
	return true
}
