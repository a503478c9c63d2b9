package registry

import (
	"errors"
	"testing"
	"time"

	"millrace.dev/internal/trust"
)

// TestTheFormatIsNoVote: no signature covers the format of an event, and in format 1 each approval also promoted. Whoever can write to the
// folder must not make a promotion of an approval by rewriting the last event in that format.
func TestTheFormatIsNoVote(t *testing.T) {
	t.Parallel()
	old := func(e *Event) { e.Format = 1 }
	approval := Event{Actor: "Rita", Action: Approved, Model: "house-prices", Reason: "fine", Role: "risk"}
	c := newCompany(t)
	c.register("Bob", 1)
	c.register("Bob", 2)
	c.must(Approved, "Anna", "@1")
	c.must(Approved, "Anna", "@2")
	approval.Version = 1
	c.insert("Rita", approval, old)
	if v, err := c.as("").Resolve(t.Context(), "@champion", "house-prices"); !errors.Is(err, ErrNotApproved) {
		t.Errorf("an approval by Rita, who may not promote, made a champion: %+v %v", v, err)
	}
	c.must(Promoted, "Dan", "@1")
	approval.Version = 2
	c.insert("Rita", approval, old)
	if v := c.version("@2"); v.State != StateApproved {
		t.Errorf("%+v", v)
	}
	if v := c.version("@champion"); v.Number != 1 {
		t.Errorf("an approval promoted: %+v", v)
	}
}

// TestAtSaysWhatEndedTheChampion: of several noes it is the first that took it away.
func TestAtSaysWhatEndedTheChampion(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	mustRegister(t, r, f.make(1))
	mustApprove(t, r, "@1")
	mustRetire(t, r, "@1") // event 3
	mustReject(t, r, "@1")
	m, err := r.At(t.Context(), time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil || m.Events != 4 || m.Models[0].Ended == nil || m.Models[0].Ended.Seq != 3 {
		t.Errorf("%+v %v, want event 3", m, err)
	}

	c := newCompany(t)
	c.register("Bob", 1)
	c.must(Approved, "Anna", "@1")
	c.must(Approved, "Rita", "@1")
	c.must(Promoted, "Dan", "@1")
	c.insert("", Event{Actor: "Eve", Action: Purged, Model: "house-prices", Version: 1, Reason: "gone"}, nil)
	m, err = c.as("").At(t.Context(), time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil || len(m.Models) != 1 || m.Models[0].Champion != nil || m.Models[0].Ended == nil || m.Models[0].Ended.Action != Purged {
		t.Errorf("%+v %v, want a purge", m, err)
	}
}

// TestALogThatIsTooShort: a root document that names a place in the log knows that the log reaches it.
func TestALogThatIsTooShort(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	c.register("Bob", 1)
	c.must(Approved, "Anna", "@1")
	c.must(Approved, "Rita", "@1")
	c.must(Retired, "Rita", "@1") // event 5, which somebody does not like
	log := c.log()
	until := func(seq int, sum string) *trust.SignedRoot {
		return c.next(c.root, func(r *trust.Root) {
			for i := range r.People {
				if r.People[i].Name == "Bob" {
					r.People[i].Until = &trust.Place{Seq: seq, Sum: sum}
				}
			}
		})
	}
	wantUntrusted(t, c.as("").PublishRoot(t.Context(), until(6, log[4].Sum), "ops"), "root 2 knows event 6, and the log ends with event 5")
	c.root = until(5, log[4].Sum)
	if v := c.version("@1"); v.State != StateRetired {
		t.Errorf("%+v", v)
	}
	remove(t, folder{c.dir}.event(5))
	_, err := c.tryAs("")
	wantUntrusted(t, err, "root 2 knows event 5, and the log ends with event 4: its end was cut off")
}
