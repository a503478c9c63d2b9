package registry

import "fmt"

// about returns the events about a version. A purge is about every version that has the bytes by then.
func (s *state) about(v Version) (events []Event) {
	for _, e := range s.events {
		if e.Model == v.Model && e.Version == v.Number || e.Action == Purged && e.Digest == v.Digest && len(events) > 0 {
			events = append(events, e)
		}
	}
	return events
}

// purged says why a version has no bundle any more.
func (v Version) purged() error {
	return withHint(fmt.Errorf("%s: %w: its bundle was removed, some time after it was %s by %s (%s)", v.Ref(), ErrPurged, v.State, v.DecidedBy, v.Reason),
		"register the same bundle again: it becomes a new version")
}

// blob returns the blob that holds the bytes of a digest, or that they are to be written to.
func (s *state) blob(digest string) blobID { return blobID{digest, s.purges[digest]} }

// purge applies an event that lets the bytes of a digest go. It is about all versions that have them, of which it names
// the newest, and none of which may be one that can still run.
func (s *state) purge(e *Event) error {
	if s.isKept(e.Digest) && !s.lenient() || !isClean(e.Reason, maxReason) {
		return fmt.Errorf("%w: it purges the bundle of a version that is needed", ErrCorrupt)
	}
	named, found := false, false
	for _, m := range s.models {
		for i := range m.versions {
			if v := m.versions[i]; v.Digest == e.Digest {
				s.lose(m, v, e)
				found = true
				named = named || v.Model == e.Model && v.Number == e.Version
			}
		}
	}
	if !named && (found || e.Model != "") {
		return fmt.Errorf("%w: it purges %s of %s@%d, which has other bytes", ErrCorrupt, e.Digest, e.Model, e.Version)
	}
	s.purges[e.Digest] = e.Seq
	return nil
}

// lose notes that the bundle of a version is gone. Whose approvals count changes with the root document, so that one that could
// not run when it was purged may seem to be approved now; it is retired.
func (s *state) lose(m *entry, v *registered, e *Event) {
	v.Purged = true
	if v.State == StateRejected || v.State == StateRetired {
		return
	}
	v.State, v.Approvals, v.DecidedBy, v.DecidedAt, v.Reason = StateRetired, nil, e.Actor, e.Time, e.Reason
	v.Wants = s.wants(v)
	m.end(v.Number, e)
}

// isKept tells whether a version that can still run, or may come to, has the bytes of a digest.
func (s *state) isKept(digest string) bool {
	for _, m := range s.models {
		for _, v := range m.versions {
			if v.Digest == digest && (v.State == StateCandidate || v.State == StateApproved) {
				return true
			}
		}
	}
	return false
}

// isLive tells whether a version has the bytes of a digest, and they were not purged.
func (s *state) isLive(digest string) bool {
	for _, m := range s.models {
		for _, v := range m.versions {
			if v.Digest == digest && !v.Purged {
				return true
			}
		}
	}
	return false
}

// isPurged tells whether a version, which may be none of this registry, was purged.
func (s *state) isPurged(v Version) bool {
	m := s.models[v.Model]
	return m != nil && v.Number > 0 && v.Number <= len(m.versions) && m.versions[v.Number-1].Purged
}
