package registry

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/trust"
)

// company is people with keys, and the root document that names them.
type company struct {
	t    *testing.T
	f    factory
	dir  string
	keys map[string]*trust.Key
	now  func() time.Time
	root *trust.SignedRoot
}

// newCompany returns one where a data scientist and one of the role risk have to approve, and only Dan promotes. Anna has
// two keys; Bob and Dora are authors, Dora is a data scientist too. Eve is nobody.
func newCompany(t *testing.T) *company {
	t.Helper()
	c := &company{t: t, f: newFactory(t), dir: t.TempDir(), keys: map[string]*trust.Key{}, now: clock()}
	r := trust.NewRoot()
	r.Threshold, r.RootKeys = 1, []trust.PublicKey{c.key("admin").Public()}
	for _, p := range []struct {
		key, name string
		roles     []string
	}{
		{"Anna", "Anna", []string{"data-scientist"}},
		{"Anna's other", "Anna", []string{"data-scientist", "risk"}},
		{"Bob", "Bob", []string{trust.RoleAuthor}},
		{"Dora", "Dora", []string{trust.RoleAuthor, "data-scientist"}},
		{"Rita", "Rita", []string{"risk"}},
		{"Dan", "Dan", []string{trust.RoleDeployer}},
	} {
		r.People = append(r.People, trust.Person{Name: p.name, Key: c.key(p.key).Public(), Roles: p.roles})
	}
	r.Policy.Approvals = []trust.Approvals{{Role: "data-scientist", Count: 1}, {Role: "risk", Count: 1}}
	r.Policy.Promotions = []string{trust.RoleDeployer}
	c.root = c.signed(r, nil, "admin")
	return c
}

// key returns the key of that name, which it makes if it has to.
func (c *company) key(name string) *trust.Key {
	c.t.Helper()
	if c.keys[name] == nil {
		k, err := trust.NewKey()
		if err != nil {
			c.t.Fatal(err)
		}
		c.keys[name] = k
	}
	return c.keys[name]
}

func (c *company) signed(r *trust.Root, before *trust.SignedRoot, by ...string) *trust.SignedRoot {
	c.t.Helper()
	text, err := r.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := trust.ParseRoot(text)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, name := range by {
		if err := s.Sign(c.key(name), before); err != nil {
			c.t.Fatal(err)
		}
	}
	return s
}

// tryAs opens the registry for someone.
func (c *company) tryAs(name string) (*Registry, error) {
	return openQuick(c.dir, Options{Now: c.now, Root: c.root, Key: func() (*trust.Key, error) { return c.keys[name], nil }})
}

func (c *company) as(name string) *Registry {
	c.t.Helper()
	if name != "" {
		c.key(name)
	}
	r, err := c.tryAs(name)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *company) register(name string, i int, gates ...Gate) Version {
	c.t.Helper()
	v, err := c.as(name).Register(c.t.Context(), c.f.make(i), "", gates...)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

func (c *company) do(action Action, name, ref string) error {
	c.t.Helper()
	_, err := c.as(name).decide(c.t.Context(), action, ref, "house-prices", Decision{Reason: "looked at"})
	return err
}

func (c *company) must(action Action, name, ref string) {
	c.t.Helper()
	if err := c.do(action, name, ref); err != nil {
		c.t.Fatal(err)
	}
}

func (c *company) version(ref string) Version {
	c.t.Helper()
	r, err := c.tryAs("")
	if err != nil {
		c.t.Fatal(err)
	}
	v, err := r.Resolve(c.t.Context(), ref, "house-prices")
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// insert writes an event behind the last one, as somebody with the right to write but without a right to decide would.
// The event is signed with the key of that name, "" is none, after prepare, which may be nil, and before change.
func (c *company) insert(key string, e Event, change func(*Event)) {
	c.t.Helper()
	r, err := c.tryAs("")
	if err != nil { // it may be that root document which is replaced
		r, err = Open(c.dir, Options{Now: c.now})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	s := r.state
	e.Format, e.Seq, e.Prev = eventFormat, len(s.events)+1, s.sum()
	if e.Time.IsZero() {
		e.Time = r.now().UTC()
	}
	if e.Digest == "" {
		e.Digest = s.models[e.Model].versions[e.Version-1].Digest
	}
	if key != "" {
		if e.Envelope, err = e.claim().Sign(c.key(key)); err != nil {
			c.t.Fatal(err)
		}
	}
	if change != nil {
		change(&e)
	}
	if err := r.store.addEvent(c.t.Context(), &e); err != nil {
		c.t.Fatal(err)
	}
}

func (c *company) log() []Event {
	c.t.Helper()
	r, err := c.tryAs("")
	if err != nil {
		c.t.Fatal(err)
	}
	events, err := r.Log(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return events
}

func wantUntrusted(t *testing.T, err error, text string) {
	t.Helper()
	if !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want ErrUntrusted with %q", err, text)
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	if err := c.as("Bob").CheckAuthor(t.Context(), ""); err != nil {
		t.Error(err)
	}
	wantUntrusted(t, c.as("Rita").CheckAuthor(t.Context(), ""), "Rita does not have the role author")
	if _, err := c.as("Rita").Register(t.Context(), c.f.make(1), ""); true {
		wantUntrusted(t, err, "Rita does not have the role author")
	}
	v := c.register("Bob", 1)
	if v.State != StateCandidate || v.RegisteredBy != "Bob" || v.Wants != "0 of 2 approvals, roles data-scientist, risk are missing" {
		t.Errorf("%+v", v)
	}
	wantUntrusted(t, c.do(Approved, "Eve", "@1"), "is nobody's in root 1, which has Anna, Bob, Dan, Dora, Rita")
	wantUntrusted(t, c.do(Approved, "Bob", "@1"), "Bob has none of the roles that approve: data-scientist, risk")
	c.must(Approved, "Anna", "@1")
	if v = c.version("@1"); v.State != StateCandidate || v.Wants != "1 of 2 approvals, role risk is missing" {
		t.Errorf("%+v", v)
	}
	if err := v.CheckApproved(); !errors.Is(err, ErrNotApproved) || !strings.Contains(err.Error(), "it is a candidate: 1 of 2 approvals, role risk is missing") {
		t.Error(err)
	}
	c.must(Approved, "Anna", "@1") // the same again changes nothing
	if _, err := c.as("Anna").Approve(t.Context(), "@1", "house-prices", Decision{Reason: "other words"}); true {
		wantUntrusted(t, err, "Anna has approved it before")
	}
	if _, err := c.as("Anna's other").Approve(t.Context(), "@1", "house-prices", Decision{Reason: "a second key", Role: "risk"}); true {
		wantUntrusted(t, err, "Anna has approved it before (event 3): another person has to")
	}
	if err := c.do(Promoted, "Dan", "@1"); !errors.Is(err, ErrNotApproved) {
		t.Error("promoted before it was approved:", err)
	}
	c.must(Approved, "Rita", "@1")
	if v = c.version("@1"); v.State != StateApproved || v.CheckApproved() != nil || len(v.Aliases) > 0 {
		t.Errorf("approved, and not the champion, since Rita may not promote: %+v", v)
	}
	if len(v.Approvals) != 2 || v.Approvals[0].Key != c.keys["Anna"].Public().ID() || v.Approvals[1].Role != "risk" {
		t.Errorf("%+v", v.Approvals)
	}
	wantUntrusted(t, c.do(Promoted, "Rita", "@1"), "Rita has none of the roles that promote: deployer")
	c.must(Promoted, "Dan", "@1")
	if v = c.version("@champion"); v.Number != 1 {
		t.Error(v)
	}
	if r := mustVerify(t, c.as("")); r.Events != 5 || r.Signed != 5 {
		t.Errorf("%+v", r) // the root document, the registration, two approvals, a promotion
	}
}

func TestTheAuthorMayNotApprove(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	c.register("Dora", 1)
	wantUntrusted(t, c.do(Approved, "Dora", "@1"), "Dora registered it, and the author may not approve")
	c.insert("Dora", Event{Actor: "Dora", Action: Approved, Model: "house-prices", Version: 1, Reason: "mine", Role: "data-scientist"}, nil)
	c.must(Approved, "Rita", "@1")
	v := c.version("@1")
	if v.State != StateCandidate || v.Wants != "1 of 2 approvals, role data-scientist is missing" || len(v.Ignored) != 1 {
		t.Errorf("%+v", v)
	}
	wantUntrusted(t, v.CheckApproved(), "event 3, approve by Dora, does not count: not trusted: Dora registered it")
}

// TestForgedEvents has somebody who can write to the folder, but may not decide, write events there.
func TestForgedEvents(t *testing.T) {
	t.Parallel()
	approval := Event{Actor: "Rita", Action: Approved, Model: "house-prices", Version: 1, Reason: "fine", Role: "risk"}
	for name, tc := range map[string]struct {
		forge func(c *company)
		want  string
	}{
		"not signed":      {func(c *company) { c.insert("", approval, nil) }, "it is not signed"},
		"a key of nobody": {func(c *company) { c.insert("Eve", approval, nil) }, "is nobody's in root 1"},
		"another's key":   {func(c *company) { c.insert("Bob", approval, nil) }, "it is signed by the key of Bob"},
		"name of a key": {func(c *company) {
			c.insert("Eve", approval, func(e *Event) { e.Envelope.Signatures[0].KeyID = c.keys["Rita"].Public().ID() })
		}, "the signature is not one of the key"},
		"no signature":      {func(c *company) { c.insert("Rita", approval, func(e *Event) { e.Envelope.Signatures = nil }) }, "the key (none) is nobody's"},
		"flipped signature": {func(c *company) { c.insert("Rita", approval, func(e *Event) { e.Envelope.Signatures[0].Sig[3] ^= 1 }) }, "the signature is not one of the key"},
		"flipped payload":   {func(c *company) { c.insert("Rita", approval, func(e *Event) { e.Envelope.Payload[30] ^= 1 }) }, "the signature is not one of the key"},
		"other reason":      {func(c *company) { c.insert("Rita", approval, func(e *Event) { e.Reason = "great" }) }, "signed for another reason"},
		"other name":        {func(c *company) { c.insert("Rita", approval, func(e *Event) { e.Actor = "Anna" }) }, "signed for another name"},
		"other role":        {func(c *company) { c.insert("Rita", approval, func(e *Event) { e.Role = "data-scientist" }) }, "signed for another role"},
		"other time":        {func(c *company) { c.insert("Rita", approval, func(e *Event) { e.Time = e.Time.Add(time.Hour) }) }, "signed for another time"},
		"a role of others":  {func(c *company) { e := approval; e.Role = "data-scientist"; c.insert("Rita", e, nil) }, `Rita does not have the role "data-scientist"`},
		"no role":           {func(c *company) { e := approval; e.Role = ""; c.insert("Rita", e, nil) }, `Rita does not have the role ""`},
		"a no made a yes": {func(c *company) {
			e := approval
			e.Action, e.Role = Retired, ""
			c.insert("Rita", e, func(e *Event) { e.Action = Approved })
		}, "signed for another action"},
		"of another version": {func(c *company) {
			e := approval
			e.Version = 2
			c.insert("Rita", e, func(e *Event) { e.Version, e.Digest = 1, c.log()[1].Digest })
		}, "signed for another version"},
		"of another digest": {func(c *company) {
			e := approval
			e.Digest = "sha256:" + strings.Repeat("0", 64)
			c.insert("Rita", e, func(e *Event) { e.Digest = c.log()[1].Digest })
		}, "signed for another digest"},
		"copied from there": {func(c *company) {
			c.must(Approved, "Rita", "@2")
			e := approval
			e.Envelope = c.log()[4].Envelope
			c.insert("", e, nil)
		}, "signed for another version"},
		"the same person": {func(c *company) {
			e := approval
			e.Actor = "Anna"
			c.insert("Anna's other", e, nil)
		}, "Anna has approved it before (event 4): another person has to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCompany(t)
			c.register("Bob", 1)
			c.register("Bob", 2)
			c.must(Approved, "Anna", "@1") // event 4
			tc.forge(c)
			v := c.version("@1")
			if v.State != StateCandidate || v.Wants != "1 of 2 approvals, role risk is missing" {
				t.Errorf("%+v", v)
			}
			err := v.CheckApproved()
			wantUntrusted(t, err, tc.want)
			if !errors.Is(err, ErrNotApproved) {
				t.Error(err)
			}
			r := c.as("")
			if _, err := r.Resolve(t.Context(), "@champion", "house-prices"); !errors.Is(err, ErrNotApproved) {
				t.Error(err)
			}
			if _, err := r.Verify(t.Context()); true {
				wantUntrusted(t, err, tc.want)
			}
			c.must(Approved, "Rita", "@1") // what does not count is in nobody's way
			if v := c.version("@1"); v.CheckApproved() != nil {
				t.Error(v)
			}
		})
	}
}

func TestReplayedEvents(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	for i := range 2 {
		c.register("Bob", i)
		ref := []string{"@1", "@2"}[i]
		c.must(Approved, "Anna", ref)
		c.must(Approved, "Rita", ref)
		c.must(Promoted, "Dan", ref)
	}
	replay := func(action Action, version int) {
		t.Helper()
		for _, e := range c.log() {
			if e.Action == action && e.Version == version {
				c.insert("", e, nil)
				return
			}
		}
		t.Fatal("there is no such event")
	}
	replay(Promoted, 1)
	if v := c.version("@champion"); v.Number != 2 {
		t.Error("a promotion of before was replayed:", v.Ref())
	}
	if _, err := c.as("").Verify(t.Context()); true {
		wantUntrusted(t, err, "promote house-prices@1 by Dan, does not count: not trusted: it is signed for another place in the log")
	}
	c.must(Retired, "Anna", "@1")
	for _, v := range []string{"Anna", "Rita"} {
		for _, e := range c.log() {
			if e.Action == Approved && e.Version == 1 && e.Actor == v {
				c.insert("", e, nil)
				break
			}
		}
	}
	v := c.version("@1")
	if v.State != StateRetired || v.Wants != "0 of 2 approvals, roles data-scientist, risk are missing" {
		t.Errorf("approvals of before were replayed: %+v", v)
	}
}

// TestAnybodysNoCounts: what cannot be verified is heard where that is the safe side.
func TestAnybodysNoCounts(t *testing.T) {
	t.Parallel()
	for _, action := range []Action{Rejected, Retired} {
		c := newCompany(t)
		c.register("Bob", 1)
		c.must(Approved, "Anna", "@1")
		c.must(Approved, "Rita", "@1")
		c.must(Promoted, "Dan", "@1")
		c.insert("", Event{Actor: "Eve", Action: action, Model: "house-prices", Version: 1, Reason: "no"}, nil)
		v := c.version("@1")
		if err := v.CheckApproved(); !errors.Is(err, ErrNotApproved) || len(v.Aliases) > 0 {
			t.Errorf("%s: %v", action, err)
		}
	}
}

func TestUnsignedBundles(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	open := openDir(t, c.dir) // before there was a root document
	mustRegister(t, open, c.f.make(1))
	mustApprove(t, open, "@1")
	v := c.version("@1")
	wantUntrusted(t, v.CheckApproved(), "it is a candidate: no author has signed it")
	wantUntrusted(t, c.do(Approved, "Anna", "@1"), "cannot be approved: no author has signed it")
	if _, err := c.as("").Resolve(t.Context(), "@candidate", "house-prices"); !errors.Is(err, ErrNotFound) {
		t.Error("it waits for what cannot come:", err)
	}
	if v := c.register("Bob", 1); v.Number != 2 { // the same bytes, now signed
		t.Errorf("%+v", v)
	}
	if v := c.register("Dora", 1); v.Number != 2 {
		t.Errorf("%+v", v)
	}
	if _, err := open.Register(t.Context(), c.f.make(3), "eve"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "the registry has root 1, and this command none") {
		t.Error("somebody without a root document wrote what would not count:", err)
	}
	if r := mustVerify(t, c.as("")); r.Events != 4 {
		t.Errorf("what was before the root document is no fault: %+v", r)
	}
}

func TestTheKeySaysWhoItIs(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	if _, err := c.as("Bob").Register(t.Context(), c.f.make(1), "Anna"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "Anna is not the name of the key's owner, Bob") {
		t.Error(err)
	}
	r, err := c.tryAs("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Register(t.Context(), c.f.make(1), "Anna"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "there is no key") {
		t.Error(err)
	}
	if n := len(c.log()); n > 0 {
		t.Errorf("refusals wrote %d events", n)
	}
}

// next returns the root document after c.root, with a change, signed by admin.
func (c *company) next(before *trust.SignedRoot, change func(*trust.Root)) *trust.SignedRoot {
	c.t.Helper()
	r := before.Next()
	r.People = append([]trust.Person{}, r.People...)
	change(r)
	return c.signed(r, before, "admin")
}

func without(name string) func(*trust.Root) {
	return func(r *trust.Root) {
		var people []trust.Person
		for _, p := range r.People {
			if p.Name != name {
				people = append(people, p)
			}
		}
		r.People = people
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	c.register("Bob", 1)
	c.must(Approved, "Anna", "@1")
	c.must(Approved, "Rita", "@1")
	c.must(Promoted, "Dan", "@1")
	second := c.next(c.root, without("Anna"))
	if err := c.as("").PublishRoot(t.Context(), second, "ops"); err != nil {
		t.Fatal(err)
	}
	v := c.version("@1")
	if v.State != StateCandidate || v.Wants != "1 of 2 approvals, role data-scientist is missing" {
		t.Errorf("an approval with a key that was taken out counts: %+v", v)
	}
	wantUntrusted(t, v.CheckApproved(), "event 3, approve by Anna, does not count: not trusted: the key "+c.keys["Anna"].Public().ID()[:12]+" is nobody's in root 2")
	if _, err := c.as("").Resolve(t.Context(), "@champion", "house-prices"); !errors.Is(err, ErrNotApproved) {
		t.Error(err)
	}
	wantUntrusted(t, c.do(Approved, "Anna", "@1"), "is nobody's in root 2")
	if r := mustVerify(t, c.as("")); r.Signed != 6 {
		t.Errorf("what was right when it was signed is no fault: %+v", r)
	}
	c.must(Approved, "Dora", "@1")
	c.must(Promoted, "Dan", "@1")
	c.root = second // whoever trusts the second one to begin with sees the same
	if v := c.version("@champion"); v.Number != 1 || v.CheckApproved() != nil {
		t.Error(v)
	}
	if r := mustVerify(t, c.as("")); r.Signed != 8 {
		t.Errorf("%+v", r)
	}
}

// TestAKeyThatEnded keeps what a key has signed before it ended, and ties the log to the place where it did.
func TestAKeyThatEnded(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	c.register("Bob", 1)
	c.must(Approved, "Anna", "@1")
	c.must(Approved, "Rita", "@1")
	log := c.log()
	end := func(sum string) *trust.SignedRoot {
		return c.next(c.root, func(r *trust.Root) {
			for i := range r.People {
				if r.People[i].Name == "Rita" {
					r.People[i].Until = &trust.Place{Seq: 4, Sum: sum}
				}
			}
		})
	}
	wantUntrusted(t, c.as("").PublishRoot(t.Context(), end(log[2].Sum), "ops"), "root 2 knows another event 4")
	if err := c.as("").PublishRoot(t.Context(), end(log[3].Sum), "ops"); err != nil {
		t.Fatal(err)
	}
	if v := c.version("@1"); v.State != StateApproved || len(v.Ignored) > 0 {
		t.Errorf("%+v", v)
	}
	wantUntrusted(t, c.do(Rejected, "Rita", "@1"), "the key of Rita has ended with event 4")
}

func TestReplacedRoots(t *testing.T) {
	t.Parallel()
	publish := func(c *company, r *trust.SignedRoot) {
		c.t.Helper()
		c.insert("", Event{Actor: "Eve", Action: RootSet, Version: r.Version, Digest: r.Digest()}, func(e *Event) { e.Envelope = r.Envelope() })
	}
	eves := func(c *company) *trust.SignedRoot { // Eve's own company
		r := c.root.Root
		r.RootKeys = []trust.PublicKey{c.key("Eve").Public()}
		r.People = append([]trust.Person{{Name: "Eve", Key: c.key("Eve").Public(), Roles: []string{"risk", "data-scientist", "author"}}}, r.People...)
		return c.signed(&r, nil, "Eve")
	}
	for name, tc := range map[string]struct {
		tamper func(c *company)
		want   string
	}{
		"the first":          {func(c *company) { publish(c, eves(c)) }, "root 1, of event 1, is not the one that is trusted: it has been replaced"},
		"the first, trusted": {func(c *company) { c.root = c.next(c.root, without("Anna")); publish(c, eves(c)) }, "is not the one that is trusted"},
		"the next, by Eve": {func(c *company) {
			c.register("Bob", 1)
			r := c.root.Next()
			r.RootKeys = []trust.PublicKey{c.key("Eve").Public()}
			publish(c, c.signed(r, c.root, "Eve"))
		}, "event 3: not trusted: root 2 has 0 of the 1 signatures that it needs from the root keys of version 1"},
		"skipped": {func(c *company) {
			c.register("Bob", 1)
			publish(c, c.next(c.next(c.root, without("Anna")), without("Bob")))
		}, "root 3, of event 3, does not follow root 1, of event 1"},
		"back to the first": {func(c *company) {
			c.register("Bob", 1)
			if err := c.as("").PublishRoot(c.t.Context(), c.next(c.root, without("Anna")), "ops"); err != nil {
				c.t.Fatal(err)
			}
			publish(c, c.root)
		}, "root 1, of event 4, does not follow root 2, of event 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCompany(t)
			tc.tamper(c)
			_, err := c.tryAs("Bob")
			wantUntrusted(t, err, tc.want)
		})
	}
	t.Run("not signed", func(t *testing.T) {
		t.Parallel()
		c := newCompany(t)
		c.root = c.signed(&c.root.Root, nil)
		_, err := c.tryAs("Bob")
		wantUntrusted(t, err, "root 1 has 0 of the 1 signatures")
	})
	t.Run("said to be another", func(t *testing.T) {
		t.Parallel()
		c := newCompany(t)
		c.insert("", Event{Actor: "Eve", Action: RootSet, Version: 2, Digest: c.root.Digest()}, func(e *Event) { e.Envelope = c.root.Envelope() })
		if _, err := c.tryAs("Bob"); !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
	})
}

// TestChangedLogs changes a signed log in ways that keep its chain whole: every event after the change is sealed anew.
func TestChangedLogs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func([]Event) []Event
		want   string // of verifying; "" where the log alone cannot tell, and the head has to
	}{
		"an event removed":     {func(l []Event) []Event { return append(l[:4:4], l[5:]...) }, "promote house-prices@1 by Dan, does not count: not trusted: it is signed for another place in the log"},
		"an event inserted":    {func(l []Event) []Event { return append(append(l[:3:3], l[4]), l[3:]...) }, "signed for another"},
		"two events swapped":   {func(l []Event) []Event { l[3], l[4] = l[4], l[3]; return l }, "signed for another"},
		"a gate edited":        {func(l []Event) []Event { l[1].Gates[0].Words = "rmse is 2"; return l }, "signed for another outcome of gates"},
		"a gate taken out":     {func(l []Event) []Event { l[1].Gates = nil; return l }, "signed for another outcome of gates"},
		"a reason edited":      {func(l []Event) []Event { l[3].Reason = "checked by all"; return l }, "signed for another reason"},
		"a name edited":        {func(l []Event) []Event { l[3].Actor = "Dora"; return l }, "signed for another name"},
		"a time edited":        {func(l []Event) []Event { l[3].Time = l[3].Time.Add(-time.Hour); return l }, "signed for another time"},
		"a signature replaced": {func(l []Event) []Event { l[3].Envelope = l[4].Envelope; return l }, "signed for another|signed by"},
		"the end cut off":      {func(l []Event) []Event { return l[:5] }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCompany(t)
			c.register("Bob", 1, Gate{Name: "metrics.rmse", Passed: true, Words: "rmse is 12"})
			c.register("Bob", 2)
			c.must(Approved, "Anna", "@1")
			c.must(Approved, "Rita", "@1")
			c.must(Promoted, "Dan", "@1")
			c.must(Rejected, "Anna", "@2")
			head := mustVerify(t, c.as("")).Head
			if err := c.as("").GoesThrough(t.Context(), head); err != nil {
				t.Fatal(err)
			}
			log := tc.change(c.log())
			if err := os.RemoveAll(folder{dir: c.dir}.events()); err != nil {
				t.Fatal(err)
			}
			f, prev := store{place{c.dir}.store(t)}, ""
			for i := range log {
				log[i].Seq, log[i].Prev = i+1, prev
				if err := f.addEvent(t.Context(), &log[i]); err != nil {
					t.Fatal(err)
				}
				prev = log[i].Sum
			}
			r := c.as("")
			_, err := r.Verify(t.Context())
			found := tc.want == "" && err == nil
			for text := range strings.SplitSeq(tc.want, "|") {
				found = found || text != "" && errors.Is(err, ErrUntrusted) && strings.Contains(err.Error(), text)
			}
			if !found {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if err := r.GoesThrough(t.Context(), head); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "it was rewritten, or its end was cut off") {
				t.Error(err)
			}
		})
	}
}

func TestAt(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	mustRegister(t, r, f.make(1))             // 19:00:01
	mustRegister(t, r, f.make(2))             // :02
	mustApprove(t, r, "@1")                   // :03
	mustApprove(t, r, "@2")                   // :04
	mustPromote(t, r, "@2")                   // :05
	mustReject(t, r, "@2")                    // :06
	mustRegister(t, r, f.named("rents", "1")) // :07
	live := func(second int) []string {
		t.Helper()
		m, err := r.At(t.Context(), time.Date(2014, 7, 10, 19, 0, second, 0, time.UTC))
		if err != nil || m.Events != min(second, 7) {
			t.Fatal(m, err)
		}
		var got []string
		for _, l := range m.Models {
			text := l.Model + ": none"
			if l.Ended != nil {
				text += ", " + string(l.Ended.Action) + " by " + l.Ended.Actor
			}
			if l.Champion != nil {
				a := l.Champion.Approvals[0]
				text = fmt.Sprint(l.Champion.Ref(), " ", l.Promoted.Action, " by ", l.Promoted.Actor, " ", l.Promoted.Reason, ", registered by ", l.Registered.Actor,
					", approved by ", a.By, " ", a.Reason)
			}
			got = append(got, text)
		}
		return got
	}
	for second, want := range [][]string{
		nil,
		{"house-prices: none"},
		{"house-prices: none"},
		{"house-prices@1 approve by anna good, registered by train, approved by anna good"},
		{"house-prices@1 approve by anna good, registered by train, approved by anna good"},
		{"house-prices@2 promote by anna better, registered by train, approved by anna good"},
		{"house-prices: none, reject by bob"},
		{"house-prices: none, reject by bob", "rents: none"},
		{"house-prices: none, reject by bob", "rents: none"},
	} {
		if diff := cmp.Diff(want, live(second)); diff != "" {
			t.Errorf("after %d s: %s", second, diff)
		}
	}
}

// TestAtWithClocksThatDiffer: an event is as late as the latest before it.
func TestAtWithClocksThatDiffer(t *testing.T) {
	t.Parallel()
	f, dir := newFactory(t), t.TempDir()
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *Registry {
		r, err := Open(dir, Options{Now: func() time.Time { return noon.Add(d) }})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	mustRegister(t, at(0), f.make(1))
	mustApprove(t, at(time.Hour), "@1")
	mustRegister(t, at(time.Minute), f.make(2)) // by a clock that is an hour behind, or after one that was ahead
	for d, want := range map[time.Duration][2]int{-time.Second: {0, 0}, 0: {1, 0}, time.Minute: {1, 1}, time.Hour - 1: {1, 1}, time.Hour: {3, 0}} {
		if m, err := at(0).At(t.Context(), noon.Add(d)); err != nil || m.Events != want[0] || m.Later != want[1] {
			t.Errorf("at %v: %d events, and %d later, want %d: %v", d, m.Events, m.Later, want, err)
		}
	}
}

// TestAtGoesByTheRootOfThen answers what was live by the rules of that time.
func TestAtGoesByTheRootOfThen(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	c.register("Bob", 1)
	c.must(Approved, "Anna", "@1")
	c.must(Approved, "Rita", "@1")
	c.must(Promoted, "Dan", "@1")
	then := c.log()[4].Time
	second := c.next(c.root, without("Anna"))
	late, err := Open(c.dir, Options{Root: c.root, Now: func() time.Time { return then.Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := late.PublishRoot(t.Context(), second, "ops"); err != nil {
		t.Fatal(err)
	}
	for _, root := range []*trust.SignedRoot{c.root, second} {
		c.root = root
		m, err := c.as("").At(t.Context(), then)
		if err != nil || m.Root != 1 || m.Models[0].Champion == nil || m.Models[0].Promoted.Actor != "Dan" || len(m.Models[0].Champion.Approvals) != 2 {
			t.Errorf("%+v %v", m, err)
		}
		m, err = c.as("").At(t.Context(), then.Add(2*time.Hour))
		if err != nil || m.Root != 2 || m.Models[0].Champion != nil {
			t.Errorf("%+v %v", m, err)
		}
	}
}

// TestPurgesOfASignedLog: the bundle of a version goes with anybody's signature, and stays gone for whoever reads the log by
// another root document, by which the version might seem to be approved.
func TestPurgesOfASignedLog(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	c.register("Bob", 1)
	c.must(Retired, "Anna", "@1")
	c.must(Approved, "Anna", "@1")
	c.must(Approved, "Rita", "@1")
	second := c.next(c.root, func(r *trust.Root) { // somebody else of the role risk has to be there
		without("Rita")(r)
		r.People = append(r.People, trust.Person{Name: "Otto", Key: c.key("Otto").Public(), Roles: []string{"risk"}})
	})
	if err := c.as("").PublishRoot(t.Context(), second, "ops"); err != nil {
		t.Fatal(err)
	}
	gc := GCOptions{OlderThan: 1}
	if _, err := c.as("").GC(t.Context(), gc); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "there is no key") {
		t.Error(err)
	}
	if report, err := c.as("Otto").GC(t.Context(), gc); err != nil || len(report.Bundles) != 1 {
		t.Fatal(report, err)
	}
	third := c.next(second, func(r *trust.Root) {
		r.People = append(r.People, trust.Person{Name: "Rita", Key: c.key("Rita").Public(), Roles: []string{"risk"}})
	})
	if err := c.as("").PublishRoot(t.Context(), third, "ops"); err != nil {
		t.Fatal(err)
	}
	v := c.version("@1")
	if v.State != StateRetired || !v.Purged {
		t.Errorf("%+v", v)
	}
	if _, err := c.as("Anna").Approve(t.Context(), "@1", "house-prices", Decision{Reason: "again"}); !errors.Is(err, ErrPurged) {
		t.Error(err)
	}
	if r := mustVerify(t, c.as("")); r.Purged != 1 || r.Signed != 8 {
		t.Errorf("%+v", r)
	}
	if _, err := Open(c.dir, Options{}); err != nil {
		t.Error("who trusts nobody can read it all the same:", err)
	}
	if v := c.register("Bob", 1); v.Number != 2 || v.Purged {
		t.Errorf("%+v", v)
	}
}
